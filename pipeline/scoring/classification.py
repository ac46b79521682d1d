"""The metrics of one class of several, from logits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from scipy import sparse

from pipeline import metric
from pipeline.scoring import calibration, ranking
from pipeline.scoring.counts import AVERAGES, Counts
from pipeline.scoring.part import Part, Weighed, mean, mean_of, row

MOST_RANKED = 100  # of more classes ROC AUC would take longer than all else


def parts(classes: Sequence[str], judged: str) -> Iterator[Part]:
    """Yield the metrics that a classification has.

    Args:
        classes: their names, in the order of the logits.
        judged: the name of the metric that it is judged by, which it has in any case.
    """
    alone = list(range(len(classes))) if len(classes) <= metric.MOST_CLASSES else []
    chosen = metric.find(judged)
    if chosen is not None and chosen.of and not alone:
        alone = [classes.index(chosen.of)]
    of_one = [f"{name}.{classes[place]}" for place in alone for name in metric.OF_ONE["classification"]]

    def counted(wanted: np.ndarray, answered: np.ndarray) -> Weighed:
        return _counted(wanted, answered, alone)

    yield Part(("accuracy", "balanced_accuracy", *AVERAGES, *of_one), counted)
    if len(classes) <= MOST_RANKED or judged == "roc_auc":
        yield Part(("roc_auc",), roc_auc)
    for count in sorted({5, metric.top(judged) or 5}):
        if count < len(classes):
            yield Part((f"top_{count}_accuracy",), partial(_top, count))
    yield Part(("calibration_error",), lambda wanted, answered: row(calibration.calibration_error(wanted, answered)))
    yield Part(("log_loss",), lambda wanted, answered: mean(calibration.log_losses(wanted, answered)))


def trials(name: str, labels: np.ndarray) -> int:
    """Return as how many independent samples a metric counts where all answers are equally good or bad.

    Of an average over classes that is their number times the size of the smallest, see `measuring/accuracy.py`; of a
    ranking the pairs that share no sample: those of the smallest side.
    """
    sizes = np.bincount(labels)
    sizes = sizes[sizes > 0]
    if name == "roc_auc":
        return max(1, min(int(sizes.min()), labels.size - int(sizes.max())))
    if name in ("balanced_accuracy", "precision", "recall", "f1"):
        return int(sizes.size * sizes.min())
    return int(labels.size)


def roc_auc(labels: np.ndarray, logits: np.ndarray) -> Weighed:
    """Return the area under the ROC curve of two classes, else its mean over the classes, each against the rest.

    Of two classes the second is what is to be found. Classes that no sample has, or all, are left out of the mean.

    Args:
        labels: int [n]. logits: float [n, classes].
    """
    if logits.shape[1] == 2:
        scores = np.asarray(logits, np.float64)
        return row(ranking.roc_auc(labels == 1, scores[:, 1] - scores[:, 0]))
    shares = calibration.softmax(logits)
    present = [place for place in np.unique(labels) if not (labels == place).all()]
    curves = [ranking.roc_auc(labels == place, shares[:, place]) for place in present]

    def weighed(weights: np.ndarray) -> np.ndarray:
        each = [curve(weights) for curve in curves]
        return mean_of(np.stack(each) if each else np.full((1, weights.shape[1]), np.nan))

    return weighed


def _counted(labels: np.ndarray, logits: np.ndarray, alone: Sequence[int]) -> Weighed:
    count = logits.shape[1]
    answers = logits.argmax(axis=1)
    right = np.flatnonzero(answers == labels)

    def gather(rows: np.ndarray, columns: np.ndarray) -> sparse.csr_array:
        return sparse.csr_array((np.ones(columns.size), (rows, columns)), shape=(count, labels.size))

    samples = np.arange(labels.size)
    wanted, answered, hits = gather(labels, samples), gather(answers, samples), gather(labels[right], right)

    def weighed(weights: np.ndarray) -> np.ndarray:
        counts = Counts(wanted @ weights, answered @ weights, hits @ weights)
        recalls = np.where(counts.wanted > 0, counts.shares()["recall"], np.nan)
        return np.concatenate(
            [
                counts.hits.sum(axis=0, keepdims=True) / weights.sum(axis=0), mean_of(recalls),
                counts.averages(absent=False), counts.of_one(alone),
            ]
        )  # fmt: skip

    return weighed


def _top(count: int, labels: np.ndarray, logits: np.ndarray) -> Weighed:
    """Return the share of samples whose label is among the highest logits, the first of equals being higher."""
    own = logits[np.arange(labels.size), labels][:, None]
    earlier = np.arange(logits.shape[1]) < labels[:, None]
    higher = (logits > own) | ((logits == own) & earlier)
    return mean((higher.sum(axis=1) < count).astype(np.float64))
