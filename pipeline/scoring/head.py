"""The metrics of one head, by its task."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from pipeline.scoring import classification, multilabel, values
from pipeline.scoring.part import Part

if TYPE_CHECKING:
    from pipeline.predictor import Head


def parts(head: Head) -> list[Part]:
    """Return the metrics that a head has.

    What is wanted is as in `data.Split.y`. Answered are its logits [n, classes], its values [n, ...], the
    reconstruction in [0, 1], or of an anomaly the score [n].
    """
    judged = head.criterion.name
    match head.task:
        case "classification":
            return list(classification.parts(head.classes, judged))
        case "multilabel":
            return list(multilabel.parts(head.classes, judged))
        case "anomaly":
            return list(values.of_anomalies())
    together = head.task == "reconstruction"
    return list(values.parts(math.prod(head.shape), judged, together=together))


def value(head: Head, name: str, wanted: np.ndarray, answered: np.ndarray) -> float:
    """Return one metric of a head, NaN where the samples leave it undefined; see `parts`.

    Raises:
        KeyError: the head has no such metric.
    """
    found = next((part for part in parts(head) if name in part.names), None)
    if found is None:
        raise KeyError(name)
    weighed = found.prepare(wanted, answered)(np.ones((len(wanted), 1)))
    return float(weighed[found.names.index(name), 0])


def trials(head: Head, name: str, wanted: np.ndarray) -> int:
    """Return as how many independent samples a metric in [0, 1] counts where all answers are equally good or bad."""
    base, _, of = name.partition(".")
    if of:
        wanted = wanted[:, head.classes.index(of)] if head.task == "multilabel" else wanted == head.classes.index(of)
        there = int((wanted > 0).sum())
        return max(1, min(there, len(wanted) - there) if base == "roc_auc" else there)
    if head.task == "classification":
        return classification.trials(name, wanted)
    if head.task == "multilabel":
        return multilabel.trials(name, wanted)
    there = int((wanted > 0).sum())
    return max(1, min(there, len(wanted) - there))


def undefined(head: Head, name: str, wanted: np.ndarray) -> str:
    """Return why these samples leave a metric of a head undefined."""
    of = name.partition(".")[2]
    if of:
        column = (
            wanted[:, head.classes.index(of)] > 0 if head.task == "multilabel" else wanted == head.classes.index(of)
        )
        return f"no sample is {of}" if not column.any() else f"every sample is {of}"
    if head.task == "anomaly":
        return "no sample is normal" if (wanted > 0).all() else "no sample is an anomaly"
    if head.task == "classification":
        return f"every sample is {head.classes[int(wanted[0])]}"
    return "no label is there in some samples and not in others"
