"""An .onnx in ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pipeline.predictor import Ends, Samples, Spec, require_ends
from pipeline.signature import STRING, UNKNOWN, End, Signature


class OnnxPredictor:
    """An .onnx in ONNX Runtime."""

    def __init__(self, session: Any, signature: Signature, ends: Ends) -> None:
        self.signature = signature
        self._session, self._ends, self._outputs = session, ends, list(ends.outputs)

    def predict(self, batch: Samples) -> dict[str, np.ndarray]:
        """See `Predictor.predict`."""
        return dict(zip(self._outputs, self._session.run(self._outputs, self._ends.named(batch)), strict=True))

    def close(self) -> None:
        """Drop the session and its arena."""
        self._session = None


def load(path: Path, spec: Spec | None, threads: int, *, spinning: bool = True) -> OnnxPredictor:
    """Load an .onnx on the CPU, operators one after another.

    Args:
        path: the file.
        spec: names and shapes; None: those of the file, whatever they are (`OnnxPredictor.signature`).
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
    found = Signature(*(tuple(map(_end, ends)) for ends in (session.get_inputs(), session.get_outputs())))
    if spec is not None:
        shapes = {end.name: end.shape or () for end in found.takes}
        require_ends(path.name, spec, inputs=shapes, outputs=[end.name for end in found.gives])
    return OnnxPredictor(session, found, found if spec is None else spec)


_DTYPES = {"float": "float32", "double": "float64"}  # all others have numpy's names


def _end(end: Any) -> End:
    kind = str(end.type)
    if not kind.startswith("tensor("):
        return End(end.name, UNKNOWN, None)
    inner = kind.removeprefix("tensor(").removesuffix(")")
    dtype = STRING if inner == "string" else _DTYPES.get(inner, inner)
    return End(end.name, dtype, tuple(size if isinstance(size, int) else None for size in end.shape))
