from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import data, machine
from pipeline.data import DataConfig, prepared


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 20)


def _write(folder: Path) -> None:
    np.save(folder / "x.npy", np.arange(10))
    np.save(folder / "y.npy", np.arange(3))


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: _cut(folder / "x.npy"),
        lambda folder: (folder / "y.npy").unlink(),
        lambda folder: (folder / "manifest.json").unlink(),
        lambda folder: _cut(folder / "manifest.json"),
    ],
    ids=["cut off", "missing", "no manifest", "manifest cut off"],
)
def test_decoded_data_that_is_not_as_it_was_written_is_made_again(
    damage: Callable[[Path], None], tmp_path: Path
) -> None:
    written = []

    def write(folder: Path) -> None:
        written.append(folder)
        _write(folder)

    found = prepared.prepare(tmp_path, "key", write)
    assert prepared.prepare(tmp_path, "key", write) == found
    assert len(written) == 1
    damage(found)
    assert prepared.prepare(tmp_path, "key", write) == found
    assert len(written) == 2
    assert np.load(found / "x.npy").tolist() == list(range(10))
    assert np.load(found / "y.npy").tolist() == [0, 1, 2]
    assert prepared.prepare(tmp_path, "key", write) == found
    assert len(written) == 2


def test_files_are_on_the_disk_before_the_folder_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forced = []

    def fsync(descriptor: int) -> None:
        assert not prepared.folder(tmp_path, "key").exists()
        forced.append(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(os, "fsync", fsync)
    found = prepared.prepare(tmp_path, "key", _write)
    assert sorted(forced) == sorted(path.stat().st_ino for path in found.iterdir())


@pytest.mark.parametrize(
    ("source", "name", "keys", "libraries"),
    [
        ("image_folder", "photos", {}, ("pillow",)),
        ("table", "a.parquet", {}, ("pyarrow",)),
        ("table", "a.csv", {}, ()),
        (
            "tfrecord",
            "a.tfrecord",
            {"tfrecord": {"features": {"a": {"kind": "float", "shape": [2]}}, "label": "b"}},
            ("tensorflow",),
        ),
        ("tfds", None, {"tfds": {"name": "pets:1.0.0"}}, ("tensorflow-datasets", "tensorflow")),
    ],
)
def test_versions_of_what_decodes_are_in_the_key(
    source: str, name: str | None, keys: dict[str, Any], libraries: tuple[str, ...], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    fields = {"source": source, "path": name and str(tmp_path / name), **keys}
    config = DataConfig.model_validate(fields)
    assert data.libraries(config) == libraries
    monkeypatch.setattr(data, "content_hash", lambda _config: "the same")
    before = data.decoded(config, tmp_path)
    monkeypatch.setattr(machine, "versions", lambda names: dict.fromkeys(names, "1.0 of tomorrow"))
    assert (data.decoded(config, tmp_path) != before) == bool(libraries)
