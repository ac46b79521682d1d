"""What the folds of a cross-validation say together: mean, standard deviation, range, and an interval of the mean.

The folds' models share most of their training data, so their results are not independent, and no unbiased estimate of
the variance of their mean exists (Bengio and Grandvalet, 2004): a plain t interval is too narrow. The interval here is
the corrected one of Nadeau and Bengio (Inference for the generalization error, 2003), whose variance is
(1/k + tested/trained) s^2 and not s^2 / k. It is an approximation, made for random splits and usual for folds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.students_t import quantile


@dataclass(frozen=True)
class Spread:
    """One figure over k folds.

    Attributes:
        values: one a fold, in the order of the folds.
        deviation: the sample standard deviation, over k - 1.
        interval: the corrected 95 % limits of the mean; None where all values are equal, which proves nothing.
    """

    values: tuple[float, ...]
    mean: float
    deviation: float
    interval: tuple[float, float] | None

    @property
    def low(self) -> float:
        return min(self.values)

    @property
    def high(self) -> float:
        return max(self.values)


def spread(values: Sequence[float]) -> Spread:
    """Return what k folds say together; each was tested on 1/k of the samples, and the others went into its models.

    Args:
        values: k >= 2 of them, one a fold.
    """
    count = len(values)
    mean = math.fsum(values) / count
    variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
    interval = None
    if min(values) < max(values):
        tested_to_trained = 1 / (count - 1)
        half = quantile(count - 1) * math.sqrt((1 / count + tested_to_trained) * variance)
        interval = mean - half, mean + half
    return Spread(tuple(values), mean, math.sqrt(variance), interval)


def spreads(folds: Sequence[Mapping[str, float]]) -> dict[str, Spread]:
    """Return the spread of each figure that all folds have."""
    return {name: spread([fold[name] for fold in folds]) for name in folds[0] if all(name in fold for fold in folds)}


def differences(folds: Sequence[Mapping[str, float]], against: Sequence[Mapping[str, float]]) -> dict[str, Spread]:
    """Return the spread of each figure less the same fold's in `against`: paired, the test samples are the same."""
    paired = [
        {name: fold[name] - other[name] for name in fold if name in other}
        for fold, other in zip(folds, against, strict=True)
    ]
    return spreads(paired)
