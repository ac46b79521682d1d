"""What the graphs of real files consist of, counted without running them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx as onnx_library
import pytest
from onnx import TensorProto, helper

from pipeline.formats import onnx, tflite
from pipeline.formats.operators import Operators, Way, count
from pipeline.isolate import Child
from pipeline.measuring import footprint
from pipeline.report.document import Operators as Documented
from tests.pipeline.formats import tiny_quantized
from tests.pipeline.formats.conftest import Exported


@pytest.fixture(scope="module")
def quantized(converter: Child, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A quantization-aware model in every format."""
    folder = tmp_path_factory.mktemp("quantized")
    converter.call(tiny_quantized.write_all, folder)
    return folder


def channels(path: Path) -> tuple[int, int]:
    module: Any = tflite if path.suffix == ".tflite" else onnx
    return footprint.zero_channels(module.kernels(path), module.operators(path).channel_axes)


def test_every_operator_of_a_float_tflite_is_a_floating_one(exported: Exported) -> None:
    found = tflite.operators(exported.folder / "float32.tflite")
    assert (found.integer, found.floating, found.conversions, found.fake_quant) == (0, 6, 0, 0)
    assert found.floating_names == {
        "CONV_2D": 2, "MAX_POOL_2D": 1, "MEAN": 1, "FULLY_CONNECTED": 1, "SOFTMAX": 1,
    }  # fmt: skip
    assert (found.first, found.first_integer) == ("CONV_2D", False)
    assert found.kinds["CONV_2D"] == {"count": 2, "integer": 0}


@pytest.mark.parametrize("qat", [False, True], ids=["post-training", "quantization-aware"])
def test_every_operator_of_an_int8_tflite_is_an_integer_one_behind_a_conversion(
    exported: Exported, quantized: Path, qat: bool
) -> None:
    found = tflite.operators((quantized if qat else exported.folder) / "int8.tflite")
    assert (found.integer, found.floating, found.conversions) == (5 if qat else 6, 0, 3)
    assert found.kinds["CONV_2D"]["count"] == found.kinds["CONV_2D"]["integer"] == (1 if qat else 2)
    assert sum(kind["count"] for kind in found.kinds.values()) == found.integer + found.conversions
    assert (found.first, found.first_integer) == ("CONV_2D", True)


def test_float16_weights_are_converted_and_computed_with_in_float(exported: Exported) -> None:
    found = tflite.operators(exported.folder / "float16.tflite")
    assert (found.integer, found.floating, found.conversions) == (0, 6, 5)
    assert channels(exported.folder / "float16.tflite") == (0, 28)


def test_a_hybrid_operator_is_a_floating_one_and_named_as_such(exported: Exported) -> None:
    found = tflite.operators(exported.folder / "dynamic-int8.tflite")
    assert (found.integer, found.floating) == (0, 6)
    assert found.floating_names["CONV_2D (int8 weights)"] == 1


def test_a_quantization_aware_model_as_float_tflite_is_conversions_around_float_operators(quantized: Path) -> None:
    found = tflite.operators(quantized / "float32.tflite")
    assert (found.integer, found.floating, found.conversions) == (0, 5, 14)


def test_operators_of_a_saved_model_are_found_through_its_functions(converter: Child, exported: Exported) -> None:
    found, zero = converter.call(tiny_quantized.saved_model_operators, exported.folder / "saved_model")
    assert (found.floating, found.fake_quant, found.first) == (11, 0, "Mul")
    assert found.floating_names["Conv2D"] == 2
    assert zero == (0, 28)


def test_fake_quantization_in_a_saved_model_is_counted_apart(converter: Child, quantized: Path) -> None:
    found, zero = converter.call(tiny_quantized.saved_model_operators, quantized / "saved_model")
    # image, three kernels, and what three layers give
    assert (found.integer, found.floating, found.fake_quant, found.conversions) == (0, 10, 7, 0)
    assert found.channel_axes == {"conv/kernel": (3,), "depthwise/depthwise_kernel": (2, 3), "logits/kernel": (1,)}
    assert zero == (2, 20)


@pytest.mark.parametrize("name", ["float32.tflite", "int8.tflite", "int8.onnx"])
def test_channels_without_weights_are_found_in_every_order_of_axes(quantized: Path, name: str) -> None:
    # the weights of float32.tflite lie before its QUANTIZE
    assert channels(quantized / name) == (2, 20)


def test_every_operator_of_a_float_onnx_is_a_floating_one(exported: Exported) -> None:
    found = onnx.operators(exported.folder / "float32.onnx")
    # an Add behind a Conv has become its bias
    assert (found.integer, found.floating, found.conversions) == (0, 10, 0)
    assert found.floating_names["Conv"] == 2
    assert channels(exported.folder / "float32.onnx") == (0, 28)


def test_every_operator_of_a_qdq_onnx_between_conversions_is_an_integer_one(exported: Exported) -> None:
    found = onnx.operators(exported.folder / "int8.onnx")
    assert (found.integer, found.floating, found.conversions) == (9, 0, 19)
    assert (found.first, found.first_integer) == ("Reshape", True)


def qdq(zero_point: int, *, operator: str = "Relu", end: str = "QuantizeLinear", weight: type = np.int8) -> Any:
    """Return DequantizeLinear -> MatMul -> OPERATOR -> END over int8 [n, 2]."""
    numbers = {
        "scale": np.array(0.1, np.float32), "low": np.array(zero_point, np.int8), "zero": np.array(0, np.int8),
        "weight": np.ones((2, 3), weight),
    }  # fmt: skip
    nodes = [
        helper.make_node("DequantizeLinear", ["image", "scale", "zero"], ["a"]),
        helper.make_node("MatMul", ["a", "kernel" if weight is np.int8 else "weight"], ["b"]),
        helper.make_node(operator, ["b"], ["c"]),
        helper.make_node(end, ["c", "scale", "low"] if end == "QuantizeLinear" else ["c"], ["d"]),
    ]
    if weight is np.int8:
        nodes.insert(0, helper.make_node("DequantizeLinear", ["weight", "scale", "zero"], ["kernel"]))
    graph = helper.make_graph(
        nodes,
        "model",
        [helper.make_tensor_value_info("image", TensorProto.INT8, ["n", 2])],
        [helper.make_tensor_value_info("d", TensorProto.INT8 if end == "QuantizeLinear" else TensorProto.FLOAT, None)],
        [onnx_library.numpy_helper.from_array(array, name) for name, array in numbers.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])


@pytest.mark.parametrize(
    ("model", "integer", "floating"),
    [
        (qdq(-128), 2, {}),
        (qdq(-128, operator="Clip"), 2, {}),
        (qdq(-100), 0, {"MatMul": 1, "Relu": 1}),  # the lowest integer is below 0: the Relu has something to do
        (qdq(-128, operator="Tanh"), 0, {"MatMul": 1, "Tanh": 1}),
        (qdq(-128, end="Softmax"), 0, {"MatMul": 1, "Relu": 1, "Softmax": 1}),
        (qdq(-128, weight=np.float32), 0, {"MatMul": 1, "Relu": 1}),
    ],
    ids=["relu", "clip", "relu of other integers", "other activation", "float end", "float weights"],
)
def test_an_onnx_operator_is_an_integer_one_when_a_runtime_may_fuse_it_with_its_conversions(
    tmp_path: Path, model: Any, integer: int, floating: dict[str, int]
) -> None:
    onnx_library.save(model, str(tmp_path / "model.onnx"))
    found = onnx.operators(tmp_path / "model.onnx")
    assert (found.integer, found.floating_names) == (integer, floating)


def test_handling_of_shapes_is_no_operator_that_computes(recurrent: Exported) -> None:
    names = onnx.operators(recurrent.folder / "lstm.onnx").floating_names
    assert names["LSTM"] == 1
    assert not {"Shape", "Concat", "Cast"} & names.keys()
    assert tflite.operators(recurrent.folder / "lstm.tflite").floating_names["UNIDIRECTIONAL_SEQUENCE_LSTM"] >= 1


def test_counts_fit_the_report_together_with_the_channels() -> None:
    listed = [("Q", "conversion"), ("A", "floating"), ("A", "floating"), ("B", "integer"), ("SHAPE", None)]
    found = count(cast("list[tuple[str, Way | None]]", listed), {"kernel": (0,)})
    kinds = {
        name: {"count": number, "integer": integer}
        for name, number, integer in (("A", 2, 0), ("Q", 1, 0), ("B", 1, 1), ("SHAPE", 1, 0))
    }
    assert found == Operators(1, 2, {"A": 2}, 1, 0, "A", False, kinds, {"kernel": (0,)})
    said = Documented.model_validate(found.to_dict() | {"zero_channels": 1, "channels": 8})
    assert (said.floating_names, said.first, said.channels) == ({"A": 2}, "A", 8)
    assert said.integer_share == pytest.approx(1 / 3)


def test_nothing_comes_first_when_nothing_computes() -> None:
    assert count([], {}) == Operators()
