"""What the folds of a cross-validation say together: mean, standard deviation, range, and an interval of the mean.

The folds' models share most of their training data, so their results are not independent, and no unbiased estimate of
the variance of their mean exists (Bengio and Grandvalet, 2004): a plain t interval is too narrow. The interval here is
the corrected one of Nadeau and Bengio (Inference for the generalization error, 2003), whose variance is
(1/k + tested/trained) s^2 and not s^2 / k. It is an approximation, made for random splits and usual for folds.
Trained on are the samples that weights are learned from: less than the k - 1 other folds, of which the samples that
choose settings and calibrate are taken too.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
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


def spread(values: Sequence[float], tested_to_trained: float) -> Spread:
    """Return what k folds say together.

    Args:
        values: k >= 2 of them, one a fold.
        tested_to_trained: how many samples a fold was tested on, for each that its weights were learned from; > 0.
    """
    count = len(values)
    mean = math.fsum(values) / count
    variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
    interval = None
    if min(values) < max(values):
        half = quantile(count - 1) * math.sqrt((1 / count + tested_to_trained) * variance)
        interval = mean - half, mean + half
    return Spread(tuple(values), mean, math.sqrt(variance), interval)


def spreads(
    folds: Sequence[Mapping[str, float]], tested_to_trained: float, judged: Collection[str] = ()
) -> dict[str, Spread]:
    """Return the spread of each figure that all folds have.

    Args:
        tested_to_trained: as in `spread`.
        judged: figures that matter: those that at least two folds have, over these.
    """
    found = {}
    for name in dict.fromkeys(name for fold in folds for name in fold):
        values = [fold[name] for fold in folds if name in fold]
        if len(values) == len(folds) or (name in judged and len(values) > 1):
            found[name] = spread(values, tested_to_trained)
    return found


def differences(
    folds: Sequence[Mapping[str, float]], against: Sequence[Mapping[str, float]], tested_to_trained: float,
    judged: Collection[str] = (),
) -> dict[str, Spread]:  # fmt: skip
    """Return the spread of each figure less the same fold's in `against`: paired, the test samples are the same."""
    paired = [
        {name: fold[name] - other[name] for name in fold if name in other}
        for fold, other in zip(folds, against, strict=True)
    ]
    return spreads(paired, tested_to_trained, judged)
