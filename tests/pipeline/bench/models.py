"""Small models of strangers' making: other names, types and shapes than modelmill's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper


def sum_of_two(path: Path, *, batch: int | str = "n", length: int | str = 3) -> Path:
    """Write total = left + float(right), of float32 [batch, length] and int64 [batch, length]."""
    shape = [batch, length]
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["right"], ["floats"], to=TensorProto.FLOAT),
            helper.make_node("Add", ["left", "floats"], ["total"]),
        ],
        "sum",
        [
            helper.make_tensor_value_info("left", TensorProto.FLOAT, shape),
            helper.make_tensor_value_info("right", TensorProto.INT64, shape),
        ],
        [helper.make_tensor_value_info("total", TensorProto.FLOAT, shape)],
    )
    return _saved(graph, path)


def twice(path: Path, shape: list[int | str], kind: int = TensorProto.FLOAT) -> Path:
    """Write y = x + x."""
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["y"])], "twice",
        [helper.make_tensor_value_info("x", kind, shape)], [helper.make_tensor_value_info("y", kind, shape)],
    )  # fmt: skip
    return _saved(graph, path)


def _saved(graph: Any, path: Path) -> Path:
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), str(path))
    return path


def saved_model(folder: Path, batch: int | None = None) -> Path:
    """Write y = 2 x of float32 [batch, 4] under other names, as a SavedModel; it fails at another batch."""
    import tensorflow as tf

    class Twice(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([batch, 4], tf.float32, name="numbers")])
        def serve(self, numbers: Any) -> dict[str, Any]:
            return {
                "doubled": 2.0 * tf.reshape(numbers, [batch or -1, 4]),
                "name": tf.fill([tf.shape(numbers)[0]], "a"),
            }

    module = Twice()
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.serve})
    return folder


def lite(path: Path, *, int8: bool) -> Path:
    """Write y = tanh(x W) of [n, 4] as a .tflite, with int8 or float32 ends."""
    import tensorflow as tf

    weights = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)

    class Dense(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([1, 4], tf.float32, name="x")])
        def serve(self, x: Any) -> dict[str, Any]:
            return {"y": tf.tanh(tf.matmul(x, weights))}

    module = Dense()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([module.serve.get_concrete_function()], module)
    if int8:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: [[np.full((1, 4), one, np.float32)] for one in (-1.0, 0.5, 1.0)]
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    path.write_bytes(converter.convert())
    return path
