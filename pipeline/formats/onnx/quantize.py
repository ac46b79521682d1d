"""A float32 ONNX graph quantized after training by ONNX Runtime's own quantizer, as QDQ."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import InputError
from pipeline.formats.onnx import external
from pipeline.formats.onnx.walking import inner
from pipeline.predictor import Samples, Spec, count, rows

_BATCH = 32


def quantized(path: Path, spec: Spec, calibration: Samples | None) -> Any:
    """Return an int8 model: weights per channel, activations from the first to the last operator with weights.

    What scales raw values before and what makes answers after stays float32.

    Args:
        path: a float32 .onnx in canonical form.
        spec: names of its inputs.
        calibration: raw samples, n >= 1, texts as token ids, that fix the ranges of activations (lowest and highest).

    Raises:
        InputError: no calibration samples.
    """
    import onnx
    from onnxruntime import quantization

    if calibration is None or count(calibration) == 0:
        raise InputError(
            "an int8 .onnx needs calibration samples", expected="at least one sample in the calibration split",
            found="none", todo="set data.split.calibration above 0",
        )  # fmt: skip
    given = calibration

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        """Hands the samples to the quantizer, some at a time."""

        def __init__(self) -> None:
            self._batches = self._cut()

        def _cut(self) -> Iterator[dict[str, np.ndarray]]:
            for place in range(0, count(given), _BATCH):
                yield spec.named(rows(given, slice(place, place + _BATCH)))

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self._batches, None)

    graph = onnx.load(str(path), load_external_data=False).graph
    computing = inner(graph)
    # Beside the target, so that even a killed process leaves nothing elsewhere.
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".quantized-") as folder:
        made = Path(folder) / "int8.onnx"
        quantization.quantize_static(
            str(path), str(made), Reader(),
            quant_format=quantization.QuantFormat.QDQ, per_channel=True,
            activation_type=quantization.QuantType.QUInt8,  # on x86 in half of QInt8's time
            weight_type=quantization.QuantType.QInt8,
            nodes_to_exclude=[node.name for node in graph.node if node.name not in computing],
            use_external_data_format=len(external.files(path)) > 1,
        )  # fmt: skip
        return onnx.load(str(made))
