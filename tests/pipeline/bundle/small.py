"""A run of digits with real files that nobody trained: .tflite with float ends and with int8 ends, and .onnx."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.artifact import MANIFEST
from pipeline.data import DataConfig, content_hash
from pipeline.files import write_json
from pipeline.report.document import Artifact
from tests.pipeline.finished_run import FILES, MODEL, write

FLOAT_ENDS, INT8_ENDS, ONNX = "train.tflite.int8", "train.tflite.int8.int8-ends", "train.onnx.float32"
KERNEL = np.random.default_rng(5).normal(size=(3, 3, 1, 6)).astype(np.float32)
WEIGHTS = np.random.default_rng(7).normal(size=(6 * 4, 10)).astype(np.float32)


def files() -> dict[str, bytes]:
    """Return the files of the run's artifacts/; the labels are those of digits."""
    return {
        **{name: content for name, content in FILES.items() if name.startswith(MODEL)},
        f"{FLOAT_ENDS}.tflite": _tflite(integers=False), f"{INT8_ENDS}.tflite": _tflite(integers=True),
        f"{ONNX}.onnx": _onnx(), "labels.txt": "".join(f"{digit}\n" for digit in range(10)).encode(),
    }  # fmt: skip


def _tflite(*, integers: bool) -> bytes:
    import flatbuffers
    import tensorflow as tf

    from pipeline.formats.tflite.read import parsed
    from pipeline.formats.tflite.write import name_ends

    class Small(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, 8, 8, 1), tf.float32, name="image")])
        def answer(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
            found = tf.nn.relu(tf.nn.conv2d(image / 16, KERNEL, 2, "SAME"))
            found = tf.nn.max_pool2d(found, 2, 2, "VALID")
            logits = tf.matmul(tf.reshape(found, (-1, 24)), WEIGHTS)
            return {"logits": logits, "probabilities": tf.nn.softmax(logits)}

    def calibration() -> Iterator[list[np.ndarray]]:
        draw = np.random.default_rng(3)
        for _ in range(20):
            yield [draw.uniform(0, 16, (1, 8, 8, 1)).astype(np.float32)]

    module = Small()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([module.answer.get_concrete_function()], module)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = calibration
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    if integers:
        converter.inference_input_type = converter.inference_output_type = tf.int8
    model = parsed(bytes(converter.convert()))
    name_ends(model)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _onnx() -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    weights = np.random.default_rng(7).normal(size=(64, 10)).astype(np.float32)
    nodes = [
        helper.make_node("Flatten", ["image"], ["row"]), helper.make_node("MatMul", ["row", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"]),
    ]  # fmt: skip
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *sizes])
        for name, sizes in (("image", (8, 8, 1)), ("logits", (10,)), ("probabilities", (10,)))
    ]
    graph = helper.make_graph(nodes, "small", ends[:1], ends[1:], [numpy_helper.from_array(weights, "weights")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return bytes(model.SerializeToString(deterministic=True))


def run(home: Path, content: dict[str, bytes], *, data: str | None = None, **changes: Any) -> Path:
    """Write the run's folder.

    Args:
        data: hash of the data's content that the run wrote down; None: that of digits.
        changes: of the report.
    """
    listed: list[Artifact] = [
        Artifact(id=MODEL, stage="train", format="saved_model", precision="float32", path=f"artifacts/{MODEL}")
    ]
    for name, form, precision in (
        (FLOAT_ENDS, "tflite", "int8"), (INT8_ENDS, "tflite", "int8"), (ONNX, "onnx", "float32"),
    ):  # fmt: skip
        file = f"{name}.{form}"
        facts: dict[str, Any] = {"path": f"artifacts/{file}", "bytes": len(content[file]), "labels": ["labels.txt"]}
        listed.append(Artifact(id=name, stage="train", format=form, precision=precision, **facts))  # type: ignore[arg-type]
    told = {"artifacts": [one.model_dump(mode="json") for one in listed], "final": INT8_ENDS}
    write(home, content, **told | changes)
    manifest = home / "stages/export" / MANIFEST
    written = data if data is not None else content_hash(DataConfig())
    write_json(manifest, json.loads(manifest.read_bytes()) | {"basis": {"content": {"data": written}}})
    return home
