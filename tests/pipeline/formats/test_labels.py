"""Names of classes: in every file, beside it, and read back as they were."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.formats import labels, onnx
from pipeline.predictor import Head, Input, Spec
from tests.pipeline.formats import tiny
from tests.pipeline.formats.conftest import Exported

INPUT = Input("features", (3,), (0.0, 1.0))


def spec(*heads: Head) -> Spec:
    return Spec((INPUT,), heads)


@pytest.mark.parametrize("name", tiny.FILES)
def test_exported_file_holds_the_names_of_its_classes(exported: Exported, name: str) -> None:
    assert labels.read(exported.folder / name) == {"": ("a", "b", "c", "d")}


def test_labels_of_a_saved_model_lie_inside_its_folder(tmp_path: Path) -> None:
    assert labels.write(tiny.SPEC, tmp_path / labels.FOLDER) == ["labels.txt"]
    assert (tmp_path / "1/assets.extra/labels.txt").read_bytes() == b"a\nb\nc\nd\n"
    assert labels.read(tmp_path) == {"": ("a", "b", "c", "d")}


def test_each_of_several_heads_has_a_file_and_numbers_have_none(tmp_path: Path) -> None:
    several = spec(
        Head("classification", (2,), ("ham", "sp\u00e4m"), "kind"),
        Head("regression", (1,), (), "price", (0.0,), (1.0,)),
        Head("multilabel", (2,), ("", "b c"), "tags"),
    )
    assert labels.write(several, tmp_path / labels.FOLDER) == ["kind.labels.txt", "tags.labels.txt"]
    assert labels.read(tmp_path) == {"kind": ("ham", "sp\u00e4m"), "tags": ("", "b c")}
    assert labels.properties(several) == {"kind.classes": '["ham", "sp\u00e4m"]', "tags.classes": '["", "b c"]'}


def test_nothing_is_written_where_there_are_no_classes(tmp_path: Path) -> None:
    numbers = spec(Head("regression", (1,), (), "", (0.0,), (1.0,)))
    assert labels.write(numbers, tmp_path / "folder") == []
    assert list(tmp_path.iterdir()) == []
    assert labels.properties(numbers) == {}


def test_a_name_with_line_ends_stays_one_line(tmp_path: Path) -> None:
    broken = spec(Head("classification", (2,), ("one\r\ntwo", "three\u2028four")))
    labels.write(broken, tmp_path)
    assert (tmp_path / "labels.txt").read_text("utf-8").splitlines() == ["one two", "three four"]
    assert labels.properties(broken) == {"classes": '["one\\r\\ntwo", "three\u2028four"]'}  # JSON keeps it


def test_onnx_runtime_finds_the_classes_among_the_metadata(exported: Exported) -> None:
    predictor = onnx.load(exported.folder / "int8.onnx", tiny.SPEC, 1)
    found = predictor._session.get_modelmeta().custom_metadata_map
    predictor.close()
    assert found == {"classes": '["a", "b", "c", "d"]'}
