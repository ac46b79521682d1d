"""float16 and int8 .onnx that ONNX Runtime's tools make of the float32 one; the versions of operators; refusals."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx as library
import pytest

from pipeline.errors import InputError
from pipeline.formats import ConversionError, labels, onnx
from pipeline.isolate import Child
from tests.pipeline.formats import tiny
from tests.pipeline.formats.conftest import Exported
from tests.pipeline.formats.onnx import in_child


def kinds(path: Path) -> Counter[str]:
    return Counter(node.op_type for node in library.load(path).graph.node)


def test_float16_is_half_as_large_with_weights_in_float16_and_float32_ends(exported: Exported) -> None:
    half, whole = (exported.folder / name for name in ("float16.onnx", "float32.onnx"))
    assert {array.dtype for array in onnx.kernels(half).values()} == {np.dtype(np.float16)}
    assert sorted(a.shape for a in onnx.kernels(half).values()) == sorted(a.shape for a in onnx.kernels(whole).values())
    graph = library.load(half).graph
    assert {end.type.tensor_type.elem_type for end in (*graph.input, *graph.output)} == {library.TensorProto.FLOAT}


def test_float16_adds_casts_alone_and_they_are_counted_as_conversions(exported: Exported) -> None:
    half, whole = (exported.folder / name for name in ("float16.onnx", "float32.onnx"))
    assert kinds(half) - kinds(whole) == Counter(Cast=3)  # in, to the logits, and to the softmax
    assert onnx.operators(half).conversions == 3
    assert onnx.operators(half).floating == onnx.operators(whole).floating


def test_int8_by_onnx_runtime_is_a_qdq_graph_with_kernels_per_channel(exported: Exported) -> None:
    path = exported.folder / "int8.ort.onnx"
    assert {array.dtype for array in onnx.kernels(path).values()} == {np.dtype(np.int8)}
    found = onnx.operators(path)
    assert found.floating_names == {"Mul": 1, "Reshape": 1, "Softmax": 1}  # ahead of the first kernel, behind the last
    assert found.integer == 6
    sizes = {item.name: list(item.dims) for item in library.load(path).graph.initializer}
    scales = [sizes[node.input[1]] for node in library.load(path).graph.node if node.op_type == "DequantizeLinear"]
    assert [8] in scales
    assert [16] in scales


@pytest.mark.parametrize("name", ["float16.onnx", "int8.onnx", "int8.ort.onnx"])
def test_a_file_keeps_the_names_of_its_classes_its_shapes_and_one_domain(exported: Exported, name: str) -> None:
    path = exported.folder / name
    assert labels.read(path) == {"": ("a", "b", "c", "d")}
    proto = library.load(path)
    assert [(one.domain, one.version) for one in proto.opset_import] == [("", 18)]
    shaped = {
        end.name for end in (*proto.graph.value_info, *proto.graph.output) if end.type.tensor_type.HasField("shape")
    }
    assert {name for node in proto.graph.node for name in node.output} == shaped


def test_raw_values_beyond_float16_are_scaled_in_float32(converter: Child, tmp_path: Path) -> None:
    logits = converter.call(in_child.write_wide, tmp_path)
    batch = in_child.wide_samples(8)
    bound = np.abs(logits).max()
    for name, close in (("float16", 0.002), ("int8", 0.05)):
        found = in_child.logits_of(tmp_path / f"{name}.onnx", in_child.WIDE, batch)
        assert np.abs(found - logits).max() < close * bound, name
    assert sorted(path.name for path in tmp_path.iterdir()) == ["float16.onnx", "int8.onnx"]


def test_a_weight_is_refused_when_it_is_too_large_for_float16(converter: Child, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=r"dense/MatMul.* cannot be float16\n.*at most 65504") as caught:
        converter.call(in_child.write_wide, tmp_path, 1e6)
    assert caught.value.todo == "remove float16 from export.onnx"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_a_recurrent_model_is_written_in_every_precision(converter: Child, tmp_path: Path, kind: str) -> None:
    found = converter.call(in_child.errors, tmp_path, kind)
    assert found["float32"] < 1e-5
    assert found["float16"] < 1e-3
    assert found["int8"] < 0.02
    # ONNX Runtime quantizes what is around it
    assert onnx.operators(tmp_path / "int8.onnx").floating_names[kind] == 1


def test_int8_by_onnx_runtime_needs_calibration_samples(exported: Exported, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        onnx.write(exported.folder / "float32.onnx", tmp_path / "int8.onnx", tiny.SPEC, "int8")
    assert caught.value.todo == "set data.split.calibration above 0"


def test_the_oldest_opset_holds_every_precision(converter: Child, tmp_path: Path) -> None:
    converter.call(in_child.write_opset, tmp_path, 13)
    for path in sorted(tmp_path.iterdir()):
        assert [(one.domain, one.version) for one in library.load(path).opset_import] == [("", 13)], path.name
        assert in_child.logits_of(path, tiny.SPEC, tiny.samples(2, seed=1)).shape == (2, 4)


def test_operators_that_tf2onnx_does_not_know_are_named_with_their_place(converter: Child, tmp_path: Path) -> None:
    with pytest.raises(ConversionError) as caught:
        converter.call(in_child.write_resized, tmp_path)
    assert caught.value.what == (
        "the model cannot be converted to onnx float32: ONNX has no operator for TensorFlow's ScaleAndTranslate (2 "
        "times), or tf2onnx does not know it (first at resized/smaller/resize/ScaleAndTranslate)"
    )
    assert caught.value.todo.startswith("remove onnx float32 from the recipe's export section, or replace")
    assert list(tmp_path.iterdir()) == []
