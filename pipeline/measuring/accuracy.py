"""How often a classifier is right, with intervals: accuracy, macro precision, recall and F1, loss of accuracy."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pipeline.errors import RunError
from pipeline.measuring import checks
from pipeline.measuring.interval import Interval, clopper_pearson, percentile_bootstrap

METRICS = ("accuracy", "precision", "recall", "f1")


def classification(
    labels: np.ndarray, logits: np.ndarray, *, resamples: int = 1000, seed: int = 0
) -> dict[str, Interval]:
    """Return accuracy and macro precision, recall and F1 with 95 % percentile bootstrap intervals.

    The definitions are scikit-learn's with `zero_division=0`; the macro average is over the classes that occur among
    labels or predictions, in each resample anew. Resampling samples with replacement is drawing the cells of the
    confusion matrix from a multinomial distribution, so a resample costs its cells and not its samples.

    Where every sample is right, or every one wrong, all resamples are equal and the bootstrap's interval would have no
    width, as if n samples proved the population. There the Clopper-Pearson interval of n out of n (or 0 out of n) is
    given instead. For the macro averages n is then the number of classes times the size of the smallest: with k classes
    and no error seen, the mean of the class recalls is at least alpha ** (1 / (k * n_smallest)) by the inequality of
    the arithmetic and geometric means; for precision and F1, whose errors are the same errors, it stands in.

    Args:
        labels: int [n], n >= 1, each in 0..classes-1.
        logits: float [n, classes]; the highest is the prediction, the first of equals.
        resamples: number of bootstrap resamples, >= 100.
        seed: of the resampling; same seed, same interval.

    Returns:
        {"accuracy", "precision", "recall", "f1"}, each in [0, 1].

    Raises:
        RunError: nothing to compare, NaN or infinity, or labels that do not fit the logits.
    """
    scores = checks.logits(logits, who="the model")
    truth = checks.labels(labels, scores)
    _check_resamples(resamples)
    samples = truth.size
    rows, columns, counts = confusion(truth, scores)

    values = _macro(counts[None, :], rows, columns)[0]
    right = int(counts[rows == columns].sum())
    if right in (0, samples):
        sizes = np.bincount(truth)
        sizes = sizes[sizes > 0]
        balanced = int(sizes.size * sizes.min())
        return {
            name: clopper_pearson(float(n if right else 0), n)
            for name, n in zip(METRICS, (samples, balanced, balanced, balanced), strict=True)
        }
    draws = np.concatenate(
        [_macro(drawn, rows, columns) for drawn in _multinomial(counts, samples, resamples, seed)], axis=0
    )
    return {name: percentile_bootstrap(float(values[i]), draws[:, i]) for i, name in enumerate(METRICS)}


def confusion(labels: np.ndarray, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the confusion matrix as (label, answer, samples), int64 [cells] each, by label and answer.

    Only the cells that occur: with 1000 classes the matrix has a million, of which n at most are not zero.

    Args:
        labels: int64 [n], each in 0..classes-1. logits: float [n, classes]; the answer is the first of the highest.
    """
    classes = logits.shape[1]
    cells, counts = np.unique(labels * classes + logits.argmax(axis=1), return_counts=True)
    return cells // classes, cells % classes, counts


def drop(
    labels: np.ndarray, reference_logits: np.ndarray, logits: np.ndarray, *, resamples: int = 1000, seed: int = 0
) -> Interval:
    """Return the loss of accuracy, reference minus model, with a paired bootstrap interval; positive means worse.

    Paired: both models see the same resampled samples, so what both get right or wrong cancels. Where the two are
    right and wrong on exactly the same samples the bootstrap has no width; the interval is then plus and minus the
    Clopper-Pearson upper limit for 0 disagreements in n.

    Args:
        labels: int [n]. reference_logits, logits: float [n, classes]. resamples: >= 100. seed: of the resampling.

    Raises:
        RunError: nothing to compare, NaN or infinity, or arrays that do not fit together.
    """
    expected = checks.logits(reference_logits, who="the reference")
    found = checks.logits(logits, who="the model")
    if expected.shape != found.shape:
        raise RunError(
            "the accuracies of two models cannot be compared",
            expected=f"logits of shape {list(expected.shape)}",
            found=f"shape {list(found.shape)}",
            todo="run both models over the same split",
        )
    truth = checks.labels(labels, expected)
    _check_resamples(resamples)
    change = (expected.argmax(axis=1) == truth).astype(np.int64) - (found.argmax(axis=1) == truth)
    samples = truth.size
    if not change.any():
        width = clopper_pearson(0, samples).high
        return Interval(0.0, -width, width)
    steps, counts = np.unique(change, return_counts=True)
    draws = np.concatenate([drawn @ steps / samples for drawn in _multinomial(counts, samples, resamples, seed)])
    return percentile_bootstrap(float(change.mean()), draws)


def _check_resamples(resamples: int) -> None:
    if resamples < 100:
        raise RunError(
            "an interval needs more resamples",
            expected="at least 100",
            found=str(resamples),
            todo="raise the number of resamples (1000 is usual)",
        )


def _multinomial(counts: np.ndarray, samples: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Yield int64 [some resamples, cells], in pieces that keep the memory small."""
    generator = np.random.default_rng(seed)
    piece = max(1, min(resamples, 2_000_000 // counts.size))
    for start in range(0, resamples, piece):
        yield generator.multinomial(samples, counts / samples, size=min(piece, resamples - start))


def _macro(counts: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return float [resamples, 4], METRICS of each confusion matrix given as counts [resamples, cells]."""
    classes = int(max(rows.max(), columns.max())) + 1
    actual = _sums(counts, rows, classes)
    predicted = _sums(counts, columns, classes)
    hits = np.zeros_like(actual)
    diagonal = rows == columns
    hits[:, rows[diagonal]] = counts[:, diagonal]
    occurs = np.maximum((actual + predicted > 0).sum(axis=1), 1)

    def mean(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
        share: np.ndarray = np.divide(top, bottom, out=np.zeros(top.shape), where=bottom > 0)
        average: np.ndarray = share.sum(axis=1) / occurs
        return average

    accuracy = hits.sum(axis=1) / counts.sum(axis=1)
    return np.stack([accuracy, mean(hits, predicted), mean(hits, actual), mean(2 * hits, actual + predicted)], axis=1)


def _sums(counts: np.ndarray, groups: np.ndarray, classes: int) -> np.ndarray:
    """Return [resamples, classes], the counts [resamples, cells] summed per group [cells]."""
    order = np.argsort(groups, kind="stable")
    present, starts = np.unique(groups[order], return_index=True)
    sums = np.zeros((counts.shape[0], classes), dtype=np.int64)
    sums[:, present] = np.add.reduceat(counts[:, order], starts, axis=1)
    return sums
