"""Activations of an int8 .onnx are uint8: what changes type, what must not, and that the answers stay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from pipeline.formats.onnx import unsigned
from pipeline.formats.onnx.canonical import canonicalize
from pipeline.isolate import Child
from tests.pipeline.formats import tiny
from tests.pipeline.formats.conftest import Exported
from tests.pipeline.formats.onnx import in_child

HEAD = '<ir_version: 8, opset_import: ["" : 18]> agraph '
CONSTANTS = "float scale = {0.1}, int8 low = {-128}, int8 some = {-3}"


def answers(
    model: onnx.ModelProto | Path, batch: np.ndarray, *, plainly: bool = False, precision: str = "0"
) -> list[np.ndarray]:
    """Answer in ONNX Runtime; plainly: operator by operator, as the file has them."""
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", precision)
    if plainly:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    content = str(model) if isinstance(model, Path) else model.SerializeToString()
    session = onnxruntime.InferenceSession(content, options)
    found: list[np.ndarray] = session.run(None, {session.get_inputs()[0].name: batch})
    return found


def changed(text: str) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """Return a graph as it is written, and with unsigned activations."""
    before, after = onnx.parser.parse_model(HEAD + text), onnx.parser.parse_model(HEAD + text)
    unsigned.activations(after)
    canonicalize(after.graph, {})
    onnx.checker.check_model(after, full_check=True)
    return before, after


def zero_points(model: onnx.ModelProto, kind: str) -> list[np.dtype]:
    """Return the types of the zero points of QuantizeLinear or DequantizeLinear, in their order."""
    types = {item.name: onnx.numpy_helper.to_array(item).dtype for item in model.graph.initializer}
    return [types[node.input[2]] for node in model.graph.node if node.op_type == kind]


def test_activations_of_a_file_are_uint8_and_its_weights_int8_and_biases_int32(exported: Exported) -> None:
    model = onnx.load(exported.folder / "int8.onnx")
    constants = {item.name: item for item in model.graph.initializer}
    stored: dict[bool, set[str]] = {True: set(), False: set()}
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            zero = onnx.numpy_helper.to_array(constants[node.input[2]])
            stored[node.input[0] in constants].add(zero.dtype.name)
    assert stored == {True: {"int8", "int32"}, False: {"uint8"}}
    ends = (*model.graph.input, *model.graph.output)
    assert {end.type.tensor_type.elem_type for end in ends} == {onnx.TensorProto.FLOAT}


def test_a_file_answers_to_the_bit_as_with_signed_activations_and_fused_within_a_step(
    converter: Child, exported: Exported, tmp_path: Path
) -> None:
    signed, batch = tmp_path / "signed.onnx", tiny.samples(64, seed=1)
    converter.call(in_child.write_signed, exported.folder / "int8.tflite", signed)
    assert set(zero_points(onnx.load(signed), "QuantizeLinear")) == {np.dtype(np.int8)}
    written = exported.folder / "int8.onnx"
    was = answers(signed, batch, plainly=True)
    assert all(np.array_equal(a, b) for a, b in zip(answers(written, batch, plainly=True), was, strict=True))
    # exact on a processor without VNNI, too (docs/onnx.md)
    for fused, plain in zip(answers(written, batch, precision="1"), was, strict=True):
        step = np.diff(np.unique(plain)).min()
        assert np.abs(fused - plain).max() < 1.5 * step


def test_onnx_runtime_computes_every_convolution_in_integers(exported: Exported, tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(str(exported.folder / "int8.onnx"), options)
    kinds = [node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node]
    assert kinds.count("QLinearConv") == 2
    assert "Conv" not in kinds


def test_a_file_loads_where_onnx_runtime_makes_its_weights_unsigned_too(exported: Exported) -> None:
    file, batch = exported.folder / "int8.onnx", tiny.samples(64, seed=1)
    for other, plain in zip(answers(file, batch, precision="1"), answers(file, batch, plainly=True), strict=True):
        assert np.abs(other - plain).max() < 1.5 * np.diff(np.unique(plain)).min()
    # two kernels of as many channels share a zero point in a .tflite
    text = f"""(float[n, 2] image) => (float[n, 2] out)
        <{CONSTANTS}, int8[2] zeros = {{0, 0}}, float[2] scales = {{0.1, 0.2}}, int8[2, 2] one = {{1, 2, 3, 4}},
         int8[2, 2] other = {{5, 6, 7, 8}}> {{
            a = DequantizeLinear<axis = 1>(one, scales, zeros)
            b = DequantizeLinear<axis = 1>(other, scales, zeros)
            c = MatMul(image, a)
            out = MatMul(c, b)
        }}"""
    model = onnx.parser.parse_model(HEAD + text)
    unsigned.own_zero_points(model)
    onnx.checker.check_model(model, full_check=True)
    kept = [node.input[2] for node in model.graph.node if node.op_type == "DequantizeLinear"]
    assert len(set(kept)) == 2
    samples = np.ones((3, 2), np.float32)
    before = onnx.parser.parse_model(HEAD + text)
    assert np.array_equal(answers(model, samples)[0], answers(before, samples)[0])


def test_integers_that_are_moved_between_their_conversions_are_unsigned_too() -> None:
    before, after = changed(f"""
        (float[n, 1, 4, 4] image) => (float[n, 2, 2, 2] out) <{CONSTANTS}> {{
            a = QuantizeLinear(image, scale, some)
            b = QuantizeLinear(image, scale, some)
            joined = Concat<axis = 1>(a, b)
            largest = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(joined)
            turned = Transpose<perm = [0, 1, 3, 2]>(largest)
            out = DequantizeLinear(turned, scale, some)
        }}""")
    assert zero_points(after, "QuantizeLinear") == zero_points(after, "DequantizeLinear") * 2 == [np.uint8] * 2
    batch = np.random.default_rng(0).uniform(-20, 20, (3, 1, 4, 4)).astype(np.float32)
    assert np.array_equal(answers(after, batch)[0], answers(before, batch)[0])


@pytest.mark.parametrize(
    ("met", "text"),
    [
        ("input", "(int8[n, 4] image) => (float[n, 4] out) <C> { out = DequantizeLinear(image, scale, some) }"),
        ("output", "(float[n, 4] image) => (int8[n, 4] out) <C> { out = QuantizeLinear(image, scale, some) }"),
        (
            "moved to an output",
            """(float[n, 4] image) => (int8[4, n] out) <C> {
                a = QuantizeLinear(image, scale, some)
                out = Transpose(a)
            }""",
        ),
        (
            "table",
            """(int32[n] image) => (float[n, 2] out) <C, int8[3, 2] table = {1, 2, 3, 4, 5, 6}> {
                found = Gather(table, image)
                out = DequantizeLinear(found, scale, some)
            }""",
        ),
        (
            "constant beside it",
            """(float[n, 2] image) => (float[m, 2] out) <C, int8[1, 2] row = {1, 2}> {
                a = QuantizeLinear(image, scale, some)
                both = Concat<axis = 0>(a, row)
                out = DequantizeLinear(both, scale, some)
            }""",
        ),
        (
            "integers taken for numbers",
            """(float[n, 2] image) => (float[n, 2] out) <C> {
                a = QuantizeLinear(image, scale, some)
                out = Cast<to = 1>(a)
            }""",
        ),
        (
            "branch",
            """(float[n, 2] image) => (float[n, 2] out) <C, bool yes = {1}> {
                a = QuantizeLinear(image, scale, some)
                chosen = If(yes) <
                    then_branch = then () => (int8[n, 2] one) { one = Identity(a) },
                    else_branch = else () => (int8[n, 2] other) { other = Identity(a) }
                >
                out = DequantizeLinear(chosen, scale, some)
            }""",
        ),
    ],
)  # fmt: skip
def test_integers_stay_signed_where_they_meet_what_must(met: str, text: str) -> None:
    before, after = changed(text.replace("C", CONSTANTS, 1) if "<C" in text else text)
    kinds = [*zero_points(after, "QuantizeLinear"), *zero_points(after, "DequantizeLinear")]
    assert set(kinds) <= {np.dtype(np.int8)}, met
    canonicalize(before.graph, {})
    assert after == before, met


def test_ends_stay_signed_while_what_is_between_becomes_unsigned() -> None:
    _, after = changed(f"""
        (int8[n, 4] image) => (int8[n, 4] out) <{CONSTANTS}> {{
            raw = DequantizeLinear(image, scale, some)
            inner = Tanh(raw)
            a = QuantizeLinear(inner, scale, low)
            b = DequantizeLinear(a, scale, low)
            last = Relu(b)
            out = QuantizeLinear(last, scale, low)
        }}""")
    assert zero_points(after, "QuantizeLinear") == [np.uint8, np.int8]
    assert zero_points(after, "DequantizeLinear") == [np.int8, np.uint8]
