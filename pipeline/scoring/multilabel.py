"""The metrics of labels that each are there or not, from a logit for each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from pipeline import metric
from pipeline.scoring import ranking
from pipeline.scoring.classification import MOST_RANKED
from pipeline.scoring.counts import AVERAGES, Counts
from pipeline.scoring.part import Part, Weighed, mean, mean_of


def parts(classes: Sequence[str], judged: str) -> Iterator[Part]:
    """Yield the metrics that a model of several labels has; `accuracy` is the share of samples with all labels right.

    Args:
        classes: names of the labels, in the order of the logits.
        judged: the name of the metric that it is judged by, which it has in any case.
    """
    alone = list(range(len(classes))) if len(classes) <= metric.MOST_CLASSES else []
    chosen = metric.find(judged)
    if chosen is not None and chosen.of and not alone:
        alone = [classes.index(chosen.of)]
    of_one = [f"{name}.{classes[place]}" for place in alone for name in metric.OF_ONE["classification"]]
    yield Part(("accuracy",), lambda wanted, answered: mean(_all_right(wanted, answered)))
    yield Part((*AVERAGES, *of_one), lambda wanted, answered: _counted(wanted, answered, alone))
    if len(classes) <= MOST_RANKED or judged.startswith("roc_auc"):
        names = ("roc_auc", *(f"roc_auc.{classes[place]}" for place in alone))
        yield Part(names, lambda wanted, answered: _ranked(wanted, answered, alone))


def trials(name: str, wanted: np.ndarray) -> int:
    """Return as how many independent samples a metric counts where all answers are equally good or bad.

    Of what is averaged over labels only the rarest counts: each label's errors are of the same samples.
    """
    if name == "accuracy":
        return len(wanted)
    there = (wanted > 0.5).sum(axis=0)
    there = np.minimum(there, len(wanted) - there) if name.startswith("roc_auc") else there
    return max(1, int(there[there > 0].min(initial=len(wanted))))


def answers(logits: np.ndarray) -> np.ndarray:
    """Return which labels are answered, bool [n, labels]: those of a probability above a half."""
    return np.asarray(logits) > 0


def _all_right(wanted: np.ndarray, logits: np.ndarray) -> np.ndarray:
    found: np.ndarray = ((wanted > 0.5) == answers(logits)).all(axis=1).astype(np.float64)
    return found


def _counted(wanted: np.ndarray, logits: np.ndarray, alone: Sequence[int]) -> Weighed:
    there, answered = wanted > 0.5, answers(logits)
    sums = [array.T.astype(np.float64) for array in (there, answered, there & answered)]

    def weighed(weights: np.ndarray) -> np.ndarray:
        counts = Counts(*(array @ weights for array in sums))
        return np.concatenate([counts.averages(absent=True), counts.of_one(alone)])

    return weighed


def _ranked(wanted: np.ndarray, logits: np.ndarray, alone: Sequence[int]) -> Weighed:
    scores = np.asarray(logits, np.float64)
    curves = [ranking.roc_auc(column > 0.5, scores[:, place]) for place, column in enumerate(wanted.T)]

    def weighed(weights: np.ndarray) -> np.ndarray:
        each = np.stack([curve(weights) for curve in curves])
        return np.concatenate([mean_of(each), each[list(alone)]])

    return weighed
