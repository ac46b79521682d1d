"""What files answer to a whole test split in their runtimes, and accuracies of it beside each other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.formats import onnx, tflite
from pipeline.measuring import accuracy

_PIECE = 250


def answers(path: Path, samples: np.ndarray) -> np.ndarray:
    """Return what a .tflite answers in LiteRT, an .onnx in ONNX Runtime.

    Args:
        path: of any origin; with one input. Integer inputs are filled by their scale and zero point.
        samples: raw values [n, ...], as the data set has them.

    Returns:
        float [n, classes]: the output "logits" where there is one, else the first.
    """
    module: Any = tflite if path.suffix == ".tflite" else onnx
    predictor = module.load(path, None, 2)
    names = [end.name for end in predictor.signature.gives]
    chosen = "logits" if "logits" in names else names[0]
    try:
        pieces = []
        for start in range(0, len(samples), _PIECE):
            given: Any = np.asarray(samples[start : start + _PIECE], np.float32)
            if path.suffix == ".tflite":
                given = predictor.stored(given)
            pieces.append(np.asarray(predictor.predict(given)[chosen], np.float32))
        return np.concatenate(pieces)
    finally:
        predictor.close()


def compared(answered: Mapping[str, np.ndarray], labels: np.ndarray, against: str) -> dict[str, dict[str, Any]]:
    """Return each side's accuracy, and what it loses against one of them with the paired 95 % interval, in points."""
    found: dict[str, dict[str, Any]] = {}
    for name, values in answered.items():
        lost = accuracy.drop(labels, answered[against], values, resamples=2000)
        found[name] = {
            "accuracy": float((values.argmax(axis=1) == labels).mean()), "samples": len(labels),
            "points_lost": [round(100 * one, 3) for one in (lost.value, lost.low, lost.high)],
        }  # fmt: skip
    return found
