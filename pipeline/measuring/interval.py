"""A number with its 95 % interval, and the three ways an interval is made here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from pipeline import students_t
from pipeline.errors import RunError

CONFIDENCE = 0.95
_TAIL = (1 - CONFIDENCE) / 2


@dataclass(frozen=True)
class Interval:
    """An estimate and the limits of its 95 % confidence interval; low <= value <= high."""

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        """Return {"value", "low", "high"}, as report.json has it."""
        return {"value": self.value, "low": self.low, "high": self.high}


def percentile_bootstrap(value: float, draws: np.ndarray) -> Interval:
    """Return the percentile interval of bootstrap draws (Efron, 1979).

    Args:
        value: the estimate from the whole sample. The draws of a macro average are slightly biased, so the interval
            is widened to the estimate where that lies outside.
        draws: float [resamples], the same estimate from each resample.
    """
    low, high = np.quantile(draws, [_TAIL, 1 - _TAIL])
    return Interval(value, min(float(low), value), max(float(high), value))


def clopper_pearson(hits: float, trials: int) -> Interval:
    """Return the exact binomial interval of hits / trials; it has a width also for none and for all (Clopper, 1934)."""
    if trials < 1:
        raise RunError(
            "a share was asked for over nothing",
            expected="at least 1 sample",
            found=f"{trials} samples",
            todo="give the samples that are to be compared",
        )
    low = 0.0 if hits <= 0 else float(special.betaincinv(hits, trials - hits + 1, _TAIL))
    high = 1.0 if hits >= trials else float(special.betaincinv(hits + 1, trials - hits, 1 - _TAIL))
    return Interval(hits / trials, low, high)


def geometric_mean(values: Sequence[float] | np.ndarray) -> Interval:
    """Return the geometric mean of positive numbers with Student's t interval on their logarithms.

    Args:
        values: [n], n >= 2, each > 0; one number per block or per pair of blocks, taken as independent.

    Raises:
        RunError: fewer than two values, or one that is not a positive finite number.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.size < 2 or not np.all(np.isfinite(array)) or np.any(array <= 0):
        raise RunError(
            "an interval over blocks cannot be computed",
            expected="at least 2 blocks with positive, finite numbers",
            found=f"{array.size} blocks: {np.array2string(array, precision=4, threshold=8)}",
            todo="measure again with more blocks",
        )
    return Interval(*students_t.geometric_mean(array.tolist()))
