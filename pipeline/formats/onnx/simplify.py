"""Removes from an ONNX graph what need not be computed: onnxslim folds constants and merges nodes.

Not ONNX Runtime's own optimizer: it writes operators of its own domains into the file, and makes QDQ graphs longer
(docs/onnx.md has both, measured).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.formats.onnx import external
from pipeline.predictor import Spec

_SAMPLES = 4
# of the largest answer: what another order of the same float32 operations may change
_CLOSE = 1e-4


def simplified(proto: Any, spec: Spec) -> tuple[Any, str]:
    """Return a float32 model with fewer nodes that answers alike, and nothing; or the one given, and why.

    Args:
        proto: onnx.ModelProto; it stays as it is.
        spec: what it takes: answers to random samples in the ranges of its inputs are compared.
    """
    if external.needed(proto):
        return proto, "its weights are too large for one message, which onnxslim needs"
    import onnx
    import onnxslim

    copy = onnx.ModelProto.FromString(proto.SerializeToString())
    try:
        made = onnxslim.slim(copy)
        onnx.checker.check_model(made, full_check=True)
        found = _answers(made, spec)
    except Exception as error:  # noqa: BLE001 - whatever it is, the model that came in is good
        first = str(error).strip().split("\n")[0]
        return proto, f"onnxslim fails on it: {first or type(error).__name__}"
    expected = _answers(proto, spec)
    for name, wanted in expected.items():
        if name not in found or found[name].shape != wanted.shape:
            return proto, f"onnxslim changes its output {name}"
        worst = float(np.max(np.abs(found[name] - wanted), initial=0))
        largest = float(np.max(np.abs(wanted), initial=0))
        if not worst <= _CLOSE * largest:
            by = f"{name} by {worst:.2g}, of at most {largest:.2g}"
            return proto, f"simplified by onnxslim it answers otherwise: {by}"
    return made, ""


def _answers(proto: Any, spec: Spec) -> dict[str, np.ndarray]:
    """Return what a model answers to random samples, the same each time."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    random, samples = np.random.default_rng(0), {}
    for one in spec.inputs:
        shape = (_SAMPLES, *one.shape)
        if one.vectorizer is not None:
            samples[one.name] = random.integers(0, one.vectorizer.size, shape).astype(np.int32)
        else:
            low, high = one.bounds
            samples[one.name] = (low + random.random(shape) * (np.asarray(high) - low)).astype(np.float32)
    names = [end.name for end in session.get_outputs()]
    return dict(zip(names, session.run(names, samples), strict=True))
