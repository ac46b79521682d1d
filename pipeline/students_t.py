"""Student's t interval in plain Python: every run needs some, and to import scipy takes half a second."""

from __future__ import annotations

import math
from collections.abc import Sequence

_SHARE = 0.975  # of the distribution below the interval's upper limit: 95 % lie inside


def geometric_mean(ratios: Sequence[float]) -> tuple[float, float, float]:
    """Return the geometric mean of positive numbers and the 95 % limits, from Student's t over their logarithms.

    Args:
        ratios: n >= 2 of them, each > 0, taken as independent.
    """
    logs = [math.log(ratio) for ratio in ratios]
    count = len(logs)
    mean = math.fsum(logs) / count
    variance = math.fsum((one - mean) ** 2 for one in logs) / (count - 1)
    half = quantile(count - 1) * math.sqrt(variance / count)
    return math.exp(mean), math.exp(mean - half), math.exp(mean + half)


def quantile(degrees: int) -> float:
    """Return the 97.5 % point of Student's t with so many degrees of freedom (>= 1)."""
    low, high = 1.9, 13.0  # for infinitely many degrees, and for one
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if _inside(middle, degrees) < 2 * _SHARE - 1 else (low, middle)
    return (low + high) / 2


def _inside(t: float, degrees: int) -> float:
    """Return the share of the distribution between -t and t (Abramowitz and Stegun, 26.7.3 and 26.7.4)."""
    angle = math.atan(t / math.sqrt(degrees))
    cosine = math.cos(angle)
    odd = degrees % 2
    term, total = (cosine if odd else 1.0), 0.0
    for k in range(2 + odd, degrees + 1, 2):
        total += term
        term *= cosine**2 * (k - 1) / k
    return 2 / math.pi * (angle + math.sin(angle) * total) if odd else math.sin(angle) * total
