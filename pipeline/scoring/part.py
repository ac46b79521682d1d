"""What the modules of this room hand out: metrics that are computed together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

# float64 weights [n, r] -> float64 [metrics, r]; NaN where the samples that count leave a metric undefined
Weighed = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Part:
    """Metrics that share their arithmetic.

    Attributes:
        names: of the metrics, without the head's.
        prepare: (wanted, answered) -> what computes them for weights.
    """

    names: tuple[str, ...]
    prepare: Callable[[np.ndarray, np.ndarray], Weighed]


def row(one: Weighed) -> Weighed:
    """Return [1, r] of what gives [r]."""
    return lambda weights: one(weights)[None, :]


def mean(each: np.ndarray) -> Weighed:
    """Return the mean of a number a sample, [n]."""

    def weighed(weights: np.ndarray) -> np.ndarray:
        found: np.ndarray = (each @ weights / weights.sum(axis=0))[None, :]
        return found

    return weighed


def mean_of(some: np.ndarray) -> np.ndarray:
    """Return the mean of those of [some, r] that are defined, [1, r]; NaN where none is."""
    there = np.isfinite(some)
    counts = there.sum(axis=0)
    sums = np.where(there, some, 0.0).sum(axis=0)
    found: np.ndarray = np.divide(sums, counts, out=np.full(counts.shape, np.nan), where=counts > 0)[None, :]
    return found
