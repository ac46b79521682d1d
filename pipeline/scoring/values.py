"""The metrics of predicted values and of anomaly scores."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from pipeline.metric import MOST_CLASSES, OF_ONE, find
from pipeline.scoring import ranking
from pipeline.scoring.part import Part, Weighed, row


def parts(values: int, judged: str, *, together: bool) -> Iterator[Part]:
    """Yield the metrics of predicted values: of all, and where there are several of each.

    Args:
        values: how many a sample has.
        judged: the name of the metric that they are judged by, which they have in any case.
        together: R2 of all values of a sample together, as of the pixels of an image; and of none alone.
    """
    yield Part(("r2",), lambda wanted, answered: _determination(wanted, answered, together=together))
    yield Part(("mse", "mae"), _errors)
    if together or values < 2:
        return
    alone = list(range(values)) if values <= MOST_CLASSES else []
    chosen = find(judged)
    if chosen is not None and chosen.of and not alone:
        alone = [int(chosen.of)]
    for place in alone:
        names = tuple(f"{name}.{place}" for name in OF_ONE["regression"])
        yield Part(names, partial(_one, place))


def of_anomalies() -> Iterator[Part]:
    """Yield the metrics of anomaly scores, wanted being 1 for an anomaly and 0 for a normal sample.

    `mse` is the mean score of normal samples: their mean squared error in units of their value range.
    """
    yield Part(("roc_auc",), lambda wanted, scores: row(ranking.roc_auc(wanted > 0, scores)))
    yield Part(("average_precision",), lambda wanted, scores: row(ranking.average_precision(wanted > 0, scores)))
    yield Part(("mse",), _normal)


def r2(weights: np.ndarray, truth: np.ndarray, squared: np.ndarray, *, together: bool) -> np.ndarray:
    """Return R2 for each row of weights [r, n], which add up to 1: [r].

    As scikit-learn has it: values that never differ count as right where they are met, and as 0 elsewhere.

    Args:
        truth: [n, k], about 0. squared: errors [n, k].
        together: of all values of a sample together ("variance_weighted", but an error where the values never differ
            counts too), else the mean of the values' own ("uniform_average").
    """
    errors = weights @ squared
    spread = weights @ np.square(truth) - np.square(weights @ truth)
    if together:
        errors, spread = errors.sum(axis=1, keepdims=True), spread.sum(axis=1, keepdims=True)
    none = 1e-15 * np.square(truth).mean(axis=0).max()  # what rounding leaves of a spread that is none
    share = np.divide(errors, spread, out=(errors > none).astype(np.float64), where=spread > none)
    answer: np.ndarray = 1 - share.mean(axis=1)
    return answer


def _flat(wanted: np.ndarray, answered: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    truth = np.asarray(wanted, np.float64).reshape(len(wanted), -1)
    return truth, np.asarray(answered, np.float64).reshape(len(wanted), -1) - truth


def _determination(wanted: np.ndarray, answered: np.ndarray, *, together: bool) -> Weighed:
    truth, errors = _flat(wanted, answered)
    centred, squared = truth - truth.mean(axis=0), np.square(errors)
    return lambda weights: r2((weights / weights.sum(axis=0)).T, centred, squared, together=together)[None, :]


def _errors(wanted: np.ndarray, answered: np.ndarray) -> Weighed:
    _, errors = _flat(wanted, answered)
    each = np.stack([np.square(errors).mean(axis=1), np.abs(errors).mean(axis=1)])
    return lambda weights: each @ weights / weights.sum(axis=0)


def _one(place: int, wanted: np.ndarray, answered: np.ndarray) -> Weighed:
    truth, found = (np.asarray(array).reshape(len(array), -1)[:, [place]] for array in (wanted, answered))
    determination, errors = _determination(truth, found, together=False), _errors(truth, found)
    return lambda weights: np.concatenate([determination(weights), errors(weights)])


def _normal(wanted: np.ndarray, scores: np.ndarray) -> Weighed:
    normal = (wanted == 0).astype(np.float64)
    sums = np.stack([normal * np.asarray(scores, np.float64), normal])

    def weighed(weights: np.ndarray) -> np.ndarray:
        total, count = sums @ weights
        found: np.ndarray = np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)[None, :]
        return found

    return weighed
