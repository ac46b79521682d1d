"""TFLite Metadata: read here field by field, by the numbers of the public schema, and from the zip archive."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import number_types
from flatbuffers.table import Table

from pipeline.formats import labels
from pipeline.formats.tflite.metadata import add
from pipeline.isolate import Child
from pipeline.predictor import Head, Input, Spec
from tests.pipeline.formats import tiny
from tests.pipeline.formats.conftest import Exported

LITE = tuple(name for name in tiny.FILES if name.endswith(".tflite"))


def metadata(path: Path) -> bytes:
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    (entry,) = [one for one in model.metadata if one.name == b"TFLITE_METADATA"]
    found: bytes = model.buffers[entry.buffer].data.tobytes()
    return found


def root(content: bytes) -> Table:
    assert content[4:8] == b"M001"
    return Table(content, int.from_bytes(content[:4], "little"))


def tables(table: Any, number: int) -> list[Table]:
    offset = table.Offset(4 + 2 * number)
    if not offset:
        return []
    start = table.Vector(offset)
    return [Table(table.Bytes, table.Indirect(start + 4 * i)) for i in range(table.VectorLen(offset))]


def table(outer: Any, number: int) -> Table:
    return Table(outer.Bytes, outer.Indirect(outer.Pos + outer.Offset(4 + 2 * number)))


def text(outer: Any, number: int) -> str:
    return str(outer.String(outer.Pos + outer.Offset(4 + 2 * number)).decode())


def floats(outer: Any, number: int) -> list[float]:
    array = outer.GetVectorAsNumpy(number_types.Float32Flags, outer.Offset(4 + 2 * number))
    return [float(one) for one in array]


def byte(outer: Any, number: int) -> int:
    return int(outer.Get(number_types.Int8Flags, outer.Pos + outer.Offset(4 + 2 * number)))


@pytest.mark.parametrize("name", LITE)
def test_unzip_lists_the_labels_of_a_tflite(exported: Exported, name: str) -> None:
    with zipfile.ZipFile(exported.folder / name) as archive:
        assert archive.namelist() == ["labels.txt"]
        assert archive.read("labels.txt") == b"a\nb\nc\nd\n"
        assert archive.testzip() is None


def test_metadata_name_the_ends_in_the_order_of_the_graph_with_ranges_and_labels(exported: Exported) -> None:
    path = exported.folder / "int8.tflite"
    found = root(metadata(path))
    assert text(found, 7) == "1.0.0"  # of the schema's parser
    (graph,) = tables(found, 3)
    (image,) = tables(graph, 2)
    assert text(image, 0) == "image"
    assert (byte(table(image, 3), 0), byte(table(table(image, 3), 1), 0)) == (2, 2)  # ImageProperties, GRAYSCALE
    (unit,) = tables(image, 4)
    assert byte(unit, 0) == 1  # NormalizationOptions
    assert (floats(table(unit, 1), 0), floats(table(unit, 1), 1)) == ([0.0], [1.0])
    assert (floats(table(image, 5), 0), floats(table(image, 5), 1)) == ([16.0], [0.0])

    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    names = {end.tensorIndex: end.name.decode() for end in model.signatureDefs[0].outputs}
    ends = tables(graph, 3)
    assert [text(end, 0) for end in ends] == [names[index] for index in model.subgraphs[0].outputs]
    for end in ends:
        (file,) = tables(end, 6)
        assert (text(file, 0), byte(file, 2)) == ("labels.txt", 2)  # TENSOR_AXIS_LABELS
        if text(end, 0) == "probabilities":
            assert (floats(table(end, 5), 0), floats(table(end, 5), 1)) == ([1.0], [0.0])


def test_each_of_several_heads_has_its_own_file_and_numbers_have_none(exported: Exported, tmp_path: Path) -> None:
    several = Spec(
        (Input("features", (3,), (-1.0, 1.0)),),
        (
            Head("classification", (2,), ("ham", "sp\u00e4m"), "kind"),
            Head("regression", (1,), (), "price", (0.0,), (1.0,)),
            Head("multilabel", (60,), tuple(f"tag {place}" for place in range(60)), "tags"),
        ),
    )
    model = schema.ModelT.InitFromPackedBuf((exported.folder / "float32.tflite").read_bytes(), 0)
    model.metadata = [one for one in model.metadata if one.name != b"TFLITE_METADATA"]
    path = tmp_path / "several.tflite"
    path.write_bytes(add(model, several, ["features"], ["price_value", "tags_logits", "kind_logits"]))
    assert labels.read(path) == {"tags": several.heads[2].classes, "kind": ("ham", "sp\u00e4m")}
    (graph,) = tables(root(metadata(path)), 3)
    assert [[text(file, 0) for file in tables(end, 6)] for end in tables(graph, 3)] == [
        [], ["tags.labels.txt"], ["kind.labels.txt"]
    ]  # fmt: skip
    (features,) = tables(graph, 2)
    assert byte(table(features, 3), 0) == 1  # FeatureProperties
    assert tables(features, 4) == []


def test_a_file_without_metadata_has_no_labels(exported: Exported, tmp_path: Path) -> None:
    model = schema.ModelT.InitFromPackedBuf((exported.folder / "float32.tflite").read_bytes(), 0)
    model.metadata = [one for one in model.metadata if one.name != b"TFLITE_METADATA"]
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    (tmp_path / "plain.tflite").write_bytes(builder.Output())
    assert labels.read(tmp_path / "plain.tflite") == {}


def test_metadata_and_labels_cost_less_than_a_third_of_a_kilobyte(exported: Exported, tmp_path: Path) -> None:
    from pipeline.measuring import footprint

    path = exported.folder / "int8.tflite"
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    (place,) = [place for place, one in enumerate(model.metadata) if one.name == b"TFLITE_METADATA"]
    model.buffers[model.metadata[place].buffer].data = None
    del model.metadata[place]
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    (tmp_path / "plain.tflite").write_bytes(builder.Output())
    assert footprint.size(path).gzip_bytes - footprint.size(tmp_path / "plain.tflite").gzip_bytes < 333


def test_tensorflows_own_interpreter_loads_and_runs_the_file(exported: Exported, converter: Child) -> None:
    batch = tiny.samples(1, seed=1)
    found = converter.call(tiny.answer_in_tensorflow, exported.folder / "float32.tflite", batch)
    assert np.abs(found["logits"] - exported.logits[:1]).max() < 1e-4
