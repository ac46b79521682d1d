"""Whether a classifier is right as often as it is sure: the expected calibration error, its bins, log loss."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import sparse

BINS = 15


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return probabilities float64 [n, classes] of logits [n, classes]."""
    scores = np.asarray(logits, np.float64)
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    found: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return found


def confidences(labels: np.ndarray, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return for each sample how sure the answer is, whether it is right (0 or 1), and its bin (0 to 14).

    Bins of equal width, each with its upper edge and without its lower one (Guo et al., 2017).

    Args:
        labels: int [n]. logits: float [n, classes].
    """
    shares = softmax(logits)
    sure = shares.max(axis=1)
    right = (logits.argmax(axis=1) == labels).astype(np.float64)
    return sure, right, np.clip(np.ceil(sure * BINS).astype(int) - 1, 0, BINS - 1)


def calibration_error(labels: np.ndarray, logits: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Return what gives the expected calibration error for weights [n, r]: [r], in [0, 1].

    The mean over samples of the difference between accuracy and mean confidence in their bin (Guo et al., 2017).
    """
    sure, right, place = confidences(labels, logits)
    excess = sparse.csr_array((sure - right, (place, np.arange(place.size))), shape=(BINS, place.size))

    def weighed(weights: np.ndarray) -> np.ndarray:
        found: np.ndarray = np.abs(excess @ weights).sum(axis=0) / weights.sum(axis=0)
        return found

    return weighed


def log_losses(labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Return each sample's log loss in nats, [n]; probabilities count as at least 2.2e-16, as scikit-learn has it."""
    scores = np.asarray(logits, np.float64)
    scores = scores - scores.max(axis=1, keepdims=True)
    loss = np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(labels.size), labels]
    found: np.ndarray = np.minimum(loss, -np.log(np.finfo(np.float64).eps))
    return found


def reliability(labels: np.ndarray, logits: np.ndarray) -> list[tuple[float, float, int]]:
    """Return (mean confidence, accuracy, samples) of each bin that has samples, by rising confidence."""
    sure, right, place = confidences(labels, logits)
    counts = np.bincount(place, minlength=BINS)
    sums = np.bincount(place, sure, BINS), np.bincount(place, right, BINS)
    return [
        (float(sums[0][i] / counts[i]), float(sums[1][i] / counts[i]), int(counts[i])) for i in np.flatnonzero(counts)
    ]
