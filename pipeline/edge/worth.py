"""What the answers of TensorFlow Lite Micro are worth: quality and parity, as measure has them of other runtimes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pipeline.data import Splits
from pipeline.measuring import parity
from pipeline.measuring.quality import Qualities
from pipeline.plan import reference
from pipeline.report import document


def run(
    item: document.Artifact, measured: Sequence[document.Artifact], answers: Mapping[str, np.ndarray], splits: Splits,
    resamples: int, logits: Path,
) -> document.Run:  # fmt: skip
    """Return what an artifact's answers to the test split are worth.

    Args:
        measured: every artifact, the reference among them.
        answers: by output, float32 [n, ...].
        resamples: for the intervals.
        logits: what measure has kept of other models' answers.
    """
    spec = splits.spec
    found = {end: answers[end] for end in spec.kept}
    qualities = Qualities(spec, splits.test.y, resamples)
    metrics = qualities.metrics(found)
    with np.load(logits) as kept:
        basis = reference(measured).id
        # in process where there is such a run, as measure has it
        name = next((one for one in (basis, f"{basis}@grpc", f"{basis}@rest") if _known(kept, one)), None)
        if name is not None:
            lost = qualities.drops(_answers(kept, name, spec.kept), found)
            metrics |= {f"{one}_drop": interval for one, interval in lost.items()}
        origin = f"{item.stage}.keras"
        expected = {end: values for end, values in _answers(kept, origin, spec.kept).items() if end in spec.ends}
    labels = [head.end for head in spec.heads if head.task == "multilabel"]
    same = parity.compare(expected, found, against=origin, labels=labels)
    described = {one: interval.to_dict() for one, interval in metrics.items()}
    return document.Run.model_validate(
        {
            "runtime": "tflite-micro", "threads": 1, "metrics": described, "judged": qualities.judged,
            "parity": same.to_dict(), "latency": [],
        }
    )  # fmt: skip


def _known(kept: Mapping[str, np.ndarray], name: str) -> bool:
    return any(key.partition("#")[0] == name for key in kept)


def _answers(kept: Mapping[str, np.ndarray], name: str, ends: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Return the outputs of one model among those that measure has kept."""
    if name in kept:
        return {ends[0]: kept[name]}
    return {end: kept[f"{name}#{end}"] for end in ends}
