"""The .onnx files: names, opset, dynamic batch, stored integers, and one canonical form."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import onnx as onnx_library
import onnxruntime
import pytest

from pipeline import legacy_keras
from pipeline.formats import onnx
from pipeline.formats.onnx.canonical import canonicalize
from pipeline.isolate import Child
from pipeline.predictor import classifier
from tests.pipeline.formats import tiny
from tests.pipeline.formats.conftest import Exported

FILES = ["float32.onnx", "int8.onnx"]


@pytest.mark.parametrize("name", FILES)
def test_a_file_has_the_names_a_dynamic_batch_and_the_opset(exported: Exported, name: str) -> None:
    proto = onnx_library.load(exported.folder / name)
    onnx_library.checker.check_model(proto, full_check=True)
    session = onnxruntime.InferenceSession(str(exported.folder / name))
    assert [(end.name, end.shape) for end in session.get_inputs()] == [("image", ["batch", 8, 8, 1])]
    assert [(end.name, end.shape) for end in session.get_outputs()] == [
        ("logits", ["batch", 4]),
        ("probabilities", ["batch", 4]),
    ]
    assert next(item.version for item in proto.opset_import if item.domain in ("", "ai.onnx")) == 18


def test_the_int8_file_is_a_qdq_graph(exported: Exported) -> None:
    graph = onnx_library.load(exported.folder / "int8.onnx").graph
    operators = [node.op_type for node in graph.node]
    assert operators[0] == "QuantizeLinear"
    assert operators.count("DequantizeLinear") > operators.count("Conv") == 2


@pytest.mark.parametrize(("name", "dtype"), [("float32.onnx", np.float32), ("int8.onnx", np.int8)])
def test_kernels_are_the_stored_weights_without_shapes_and_biases(exported: Exported, name: str, dtype: type) -> None:
    found = onnx.kernels(exported.folder / name)
    assert sorted(array.shape for array in found.values()) == [(8, 1, 3, 3), (16, 4), (16, 8, 3, 3)]
    assert {array.dtype for array in found.values()} == {np.dtype(dtype)}


def test_float32_kernels_are_those_of_keras(converter: Child, exported: Exported) -> None:
    dense = next(array for array in onnx.kernels(exported.folder / "float32.onnx").values() if array.shape == (16, 4))
    assert np.array_equal(dense, converter.call(tiny.keras_kernels)["logits/kernel"])


@pytest.mark.parametrize("spinning", [True, False])
def test_a_file_runs_on_two_threads_with_and_without_spinning(exported: Exported, spinning: bool) -> None:
    predictor = onnx.load(exported.folder / "float32.onnx", tiny.SPEC, 2, spinning=spinning)
    options = predictor._session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (2, 1)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == str(int(spinning))
    assert predictor._session.get_providers() == ["CPUExecutionProvider"]
    answer = predictor.predict(tiny.samples(32, seed=1))
    assert np.abs(answer["logits"] - exported.logits).max() < 1e-4


def test_a_recurrent_model_is_written_and_runs(recurrent: Exported) -> None:
    answer = onnx.load(recurrent.folder / "lstm.onnx", tiny.SPEC, 1).predict(tiny.samples(3, seed=1))
    assert np.abs(answer["logits"] - recurrent.logits).max() < 1e-5


def loop_in_a_model() -> onnx_library.ModelProto:
    """Return a model whose branch reads a weight and a tensor of the main graph."""
    return onnx_library.parser.parse_model(
        """
        <ir_version: 8, opset_import: ["" : 18]>
        agraph (float[n, 2] image) => (float[n, 2] logits, float[n, 2] probabilities)
        <float[2, 2] weight__7 = {1, 2, 3, 4}, float[1] one__3 = {1}, float[1] unused = {9}, bool yes = {1}> {
            scaled__12 = Mul(image, one__3)
            product__9 = MatMul(scaled__12, weight__7)
            logits = If(yes) <
                then_branch = then () => (float[n, 2] then_out) { then_out = Add(product__9, scaled__12) },
                else_branch = else () => (float[n, 2] else_out) {
                    twice = Add(product__9, product__9)
                    else_out = MatMul(twice, weight__7)
                }
            >
            dead = Neg(image)
            probabilities = Softmax(logits)
        }
        """
    )


def test_the_canonical_form_computes_the_same_and_is_equal_for_any_order_of_the_same_graph() -> None:
    image = np.arange(6, dtype=np.float32).reshape(3, 2)
    expected = onnxruntime.InferenceSession(loop_in_a_model().SerializeToString()).run(None, {"image": image})
    contents = set()
    for seed in range(5):
        model = loop_in_a_model()
        initializers = list(model.graph.initializer)
        random.Random(seed).shuffle(initializers)
        copies = [type(item).FromString(item.SerializeToString()) for item in initializers]
        del model.graph.initializer[:]
        model.graph.initializer.extend(copies)
        canonicalize(model.graph, {})
        onnx_library.checker.check_model(model, full_check=True)
        contents.add(model.SerializeToString(deterministic=True))
        answer = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"image": image})
        assert all(np.array_equal(a, b) for a, b in zip(answer, expected, strict=True))
    assert len(contents) == 1


def test_the_canonical_form_drops_what_is_not_needed_and_keeps_the_names_of_weights() -> None:
    graph = loop_in_a_model().graph
    canonicalize(graph, {"logits": "scores"})
    assert [node.op_type for node in graph.node] == ["Mul", "MatMul", "If", "Softmax"]
    assert {item.name for item in graph.initializer} == {"weight", "Mul.1", "If.0"}
    assert [end.name for end in graph.output] == ["probabilities", "scores"]


def test_constants_of_a_normalization_are_in_the_file_and_no_inputs(tmp_path: Path) -> None:
    keras = legacy_keras.load()
    samples = np.random.default_rng(0).normal(5, 3, (16, 4)).astype(np.float32)
    normalization = keras.layers.Normalization()
    normalization.adapt(samples)
    values = keras.Input((4,))
    keras.Model(values, keras.layers.Dense(3, name="logits")(normalization(values))).save(tmp_path / "model.keras")
    model = keras.models.load_model(tmp_path / "model.keras")
    spec = classifier("values", (4,), (-5.0, 15.0), "abc")
    onnx.write(model, tmp_path / "model.onnx", spec)
    found = onnx.load(tmp_path / "model.onnx", spec, 1).predict(samples)["logits"]
    np.testing.assert_allclose(found, model.predict(samples, verbose=0), atol=1e-5)
