"""ONNX: float from the Keras model, QDQ from the int8 .tflite, run in ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pipeline.formats import converting
from pipeline.predictor import LOGITS, PROBABILITIES, Spec, require_ends

OPSET = 18  # the newest that tf2onnx writes


def write(model: Any, path: Path, spec: Spec) -> None:
    """Write a Keras model that ends in logits as a float32 ONNX file with a dynamic batch.

    Raises:
        ConversionError: tf2onnx or the ONNX checker refuses the model.
    """
    from pipeline.formats.saved_model import serving_function

    with converting("onnx float32"):
        import tf2onnx

        # Not guarded: ONNX Runtime compares shapes with the file by itself.
        function = serving_function(model, spec, guarded=False)
        proto, _ = tf2onnx.convert.from_function(function, function.input_signature, opset=OPSET)
        content = _finished(proto, {})
    path.write_bytes(content)


def write_from_tflite(tflite_path: Path, onnx_path: Path, spec: Spec) -> None:
    """Write an int8 .tflite as a QDQ ONNX file (QuantizeLinear, DequantizeLinear) with a dynamic batch.

    From the .tflite and not from Keras, because tf2onnx has no handler for per-channel fake quantization; and so both
    files hold the same integers.

    Raises:
        ConversionError: tf2onnx or the ONNX checker refuses the file.
    """
    from pipeline import legacy_keras
    from pipeline.formats import tflite

    legacy_keras.load()
    signature, tensors = tflite.signature(tflite_path), tflite.tensor_names(tflite_path)
    require_ends(
        tflite_path.name,
        spec,
        inputs=dict.fromkeys(signature["inputs"], (None, *spec.input_shape)),
        outputs=signature["outputs"],
    )
    names = {tensors[index]: name for ends in signature.values() for name, index in ends.items()}
    with converting("onnx int8"):
        import tf2onnx

        proto, _ = tf2onnx.convert.from_tflite(str(tflite_path), opset=OPSET)
        content = _finished(proto, names)
    onnx_path.write_bytes(content)


def _finished(proto: Any, names: dict[str, str]) -> bytes:
    """Return the file's bytes: ends renamed by `names`, batch dimension free, in canonical order, checked."""
    import onnx

    from pipeline.formats.onnx_canonical import canonicalize

    graph = proto.graph
    for end in (*graph.input, *graph.output):
        end.type.tensor_type.shape.dim[0].dim_param = "batch"
    canonicalize(graph, names)
    onnx.checker.check_model(proto, full_check=True)
    return bytes(proto.SerializeToString(deterministic=True))


class OnnxPredictor:
    """An .onnx in ONNX Runtime."""

    def __init__(self, session: Any, input_name: str) -> None:
        self._session, self._input = session, input_name
        self._outputs = [LOGITS, PROBABILITIES]

    def predict(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        """Answer for raw samples float32 [n, *input_shape]: logits and probabilities, float32 [n, classes]."""
        logits, probabilities = self._session.run(self._outputs, {self._input: batch})
        return {LOGITS: logits, PROBABILITIES: probabilities}

    def close(self) -> None:
        """Drop the session and its arena."""
        self._session = None


def load(path: Path, spec: Spec, threads: int, *, spinning: bool = True) -> OnnxPredictor:
    """Load an .onnx on the CPU, operators one after another.

    Args:
        path: the file.
        spec: names and shapes.
        threads: threads inside one operator.
        spinning: let idle threads spin for the next operator: lower latency, but they take the cores from others.

    Raises:
        FormatError: inputs and outputs are not the spec's.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3  # errors
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spinning else "0")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    shapes = {end.name: tuple(end.shape) for end in session.get_inputs()}
    require_ends(path.name, spec, inputs=shapes, outputs=[end.name for end in session.get_outputs()])
    return OnnxPredictor(session, spec.input_name)


def kernels(path: Path) -> dict[str, np.ndarray]:
    """Return the weight initializers of rank 2 and more, by name, as they are stored (QDQ: the integers)."""
    import onnx

    found = {item.name: onnx.numpy_helper.to_array(item) for item in _initializers(onnx.load(str(path)).graph)}
    # Shapes, paddings and indices are int32 or int64, and no weights.
    return {
        name: array
        for name, array in found.items()
        if array.ndim >= 2 and (array.dtype.kind == "f" or array.dtype in (np.int8, np.uint8, np.int16))
    }


def _initializers(graph: Any) -> list[Any]:
    """Return the initializers of a graph and of the bodies of its loops and branches."""
    bodies = [attribute.g for node in graph.node for attribute in node.attribute if attribute.HasField("g")]
    return [*graph.initializer, *(item for body in bodies for item in _initializers(body))]
