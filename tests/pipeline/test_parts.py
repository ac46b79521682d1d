from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.parts import Parts


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A work folder with the part `a.b`: a value, a file, and a folder of files."""
    (tmp_path / "x.tflite").write_bytes(b"weights")
    (tmp_path / "model/1").mkdir(parents=True)
    (tmp_path / "model/1/saved_model.pb").write_bytes(b"graph")
    Parts(tmp_path).keep("a.b", {"bytes": 7}, [tmp_path / "x.tflite", tmp_path / "model"])
    return tmp_path


def test_part_is_found_as_it_was_kept_and_others_are_not_there(folder: Path) -> None:
    assert Parts(folder).find("a.b") == {"bytes": 7}
    assert Parts(folder).find("a") is None
    assert Parts(folder / "nowhere").find("a.b") is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "x.tflite").write_bytes(b"other"),
        lambda folder: (folder / "x.tflite").unlink(),
        lambda folder: (folder / "model/1/saved_model.pb").unlink(),
        lambda folder: (folder / "model/1/more").write_bytes(b""),
        lambda folder: (folder / "a.b.part.json").write_text("{}"),
        lambda folder: (folder / "a.b.part.json").write_text(
            (folder / "a.b.part.json").read_text().replace('"bytes": 7', '"bytes": 8')
        ),
    ],
    ids=["changed", "file gone", "file in a folder gone", "file more", "cut off", "value changed"],
)
def test_part_is_not_there_when_something_of_it_changed(folder: Path, damage: Callable[[Path], object]) -> None:
    damage(folder)
    assert Parts(folder).find("a.b") is None


def test_part_is_replaced_when_it_is_kept_again(folder: Path) -> None:
    (folder / "x.tflite").write_bytes(b"other")
    Parts(folder).keep("a.b", [1], [folder / "x.tflite"])
    assert Parts(folder).find("a.b") == [1]
