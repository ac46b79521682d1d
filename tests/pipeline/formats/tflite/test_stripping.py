"""Stripped files in LiteRT, beside what they were: the same answers, and nothing that only people and tools read."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from pipeline.doctor import sizes
from pipeline.formats import ConversionError, labels, tflite
from pipeline.formats.tflite.read import parsed, tree
from pipeline.isolate import Child
from pipeline.measuring import footprint
from pipeline.plan import Planned
from tests.pipeline.formats import tiny, tiny_variants
from tests.pipeline.formats.conftest import Exported

LITE = tuple(name for name in tiny.FILES if name.endswith(".tflite"))


def stripped(path: Path, folder: Path) -> Path:
    made = folder / path.name
    made.write_bytes(tflite.strip(path.read_bytes()))
    return made


def require_same_answers(path: Path, made: Path) -> None:
    for count in (1, 5):
        before, after = (tflite.load(one, tiny.SPEC, 1).predict(tiny.samples(count, seed=1)) for one in (path, made))
        assert {name: values.tobytes() for name, values in before.items()} == {
            name: values.tobytes() for name, values in after.items()
        }


@pytest.mark.parametrize("name", LITE)
def test_a_stripped_file_answers_bit_by_bit_as_before_and_is_smaller(
    exported: Exported, tmp_path: Path, name: str
) -> None:
    path = exported.folder / name
    made = stripped(path, tmp_path)
    require_same_answers(path, made)
    assert len(gzip.compress(made.read_bytes(), mtime=0)) < len(gzip.compress(path.read_bytes(), mtime=0)) - 500
    assert tflite.unservable(made) == ""


def test_a_file_of_each_precision_and_variant_answers_bit_by_bit_as_before(converter: Child, tmp_path: Path) -> None:
    converter.call(tiny_variants.write_all, tmp_path)
    (tmp_path / "stripped").mkdir()
    for entry in tiny_variants.ENTRIES:
        path = tmp_path / f"{entry}.tflite"
        require_same_answers(path, stripped(path, tmp_path / "stripped"))


def test_loops_with_graphs_of_their_own_answer_bit_by_bit_as_before(recurrent: Exported, tmp_path: Path) -> None:
    path = recurrent.folder / "lstm.tflite"
    samples = np.random.default_rng(0).uniform(size=(1, *tiny_shape(path))).astype(np.float32)
    before, after = (tflite.load(one, None, 1).predict(samples) for one in (path, stripped(path, tmp_path)))
    assert all(before[name].tobytes() == after[name].tobytes() for name in before)


def tiny_shape(path: Path) -> tuple[int, ...]:
    (end,) = tflite.load(path, None, 1).signature.takes
    return tuple(side or 1 for side in (end.shape or ())[1:])


def test_names_are_left_to_the_ends_alone_and_each_array_stands_once(exported: Exported, tmp_path: Path) -> None:
    path = exported.folder / "int8.tflite"
    made = stripped(path, tmp_path)
    model = schema.ModelT.InitFromPackedBuf(made.read_bytes(), 0)
    (graph,) = model.subgraphs
    names = {index: tensor.name for index, tensor in enumerate(graph.tensors) if tensor.name}
    ends = {index: name.encode() for one in tflite.signature(path).values() for name, index in one.items()}
    assert names == ends
    assert (model.description, model.metadata, graph.name) == (None, None, None)
    held = [one.data.tobytes() for one in model.buffers[1:]]
    assert len(set(held)) == len(held)
    assert model.buffers[0].data is None
    assert {one.opcodeIndex for one in graph.operators} == set(range(len(model.operatorCodes)))
    # no label file, neither as metadata nor as an archive behind the model
    assert labels.read(made) == {}
    assert b"labels.txt" not in made.read_bytes()


def test_a_stripped_file_is_read_by_the_numbers_of_its_tensors(exported: Exported, tmp_path: Path) -> None:
    path = exported.folder / "int8.tflite"
    made = stripped(path, tmp_path)
    assert {values.tobytes() for values in tflite.kernels(made).values()} == {
        values.tobytes() for values in tflite.kernels(path).values()
    }
    assert tflite.operators(made).integer == tflite.operators(path).integer
    assert "#1" in tflite.tensor_names(made)


def test_free_sides_stay_free_and_fixed_ones_fixed(exported: Exported, tmp_path: Path) -> None:
    path = exported.folder / "float32.tflite"
    assert tflite.batch(stripped(path, tmp_path)) is tflite.batch(path) is None


def test_a_file_with_weights_outside_of_its_flatbuffer_is_refused(exported: Exported) -> None:
    import flatbuffers

    model = tree(exported.folder / "int8.tflite")
    model.buffers[1].offset, model.buffers[1].size = 4096, 16
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    content = bytes(builder.Output())
    with pytest.raises(ConversionError, match=r"weights outside of its flatbuffer cannot be stripped") as refused:
        tflite.strip(content)
    assert refused.value.todo == "set export.strip_tflite=false"
    assert parsed(content).buffers[1].offset == 4096


def test_size_of_a_stripped_file_is_foreseen(exported: Exported, tmp_path: Path) -> None:
    for precision in tiny.PRECISIONS:
        found = footprint.size(stripped(exported.folder / f"{precision}.tflite", tmp_path))
        size = sizes.expected(Planned("train", "tflite", precision), tiny.build(), {}, {}, 0, {}, stripped=True)
        assert found.bytes / 1.5 < size.bytes < found.bytes * 1.5
        assert found.gzip_bytes / 1.5 < size.gzip_bytes < found.gzip_bytes * 1.5
