"""When the samples of a Server block arrive: LoadGen's own schedule, made again here.

LoadGen tells percentiles, not the schedule. Made again from its seed, the schedule gives each sample's latency from
its arrival, at no cost while the block runs; that it is LoadGen's is checked by the percentiles (`run`). The named
fallback follows the same one.
"""

from __future__ import annotations

import math

import numpy as np


def arrivals(rate_per_s: float, seed: int, count: int) -> np.ndarray:
    """Return a Poisson process: float64 [count], nanoseconds after the first arrival, rising from 0.

    The gaps are -log(1 - u) / rate, u being two words of the Mersenne Twister as C++'s generate_canonical joins them.
    """
    words = np.random.RandomState(seed).randint(0, 2**32, size=2 * max(count - 1, 0), dtype=np.uint64)
    uniform = (words[0::2] + words[1::2] * 2.0**32) / 2.0**64
    gaps = np.floor(-np.log1p(-uniform) / rate_per_s * 1e9)
    return np.concatenate([[0.0], np.cumsum(gaps)])[:count]


def scheduled(rate_per_s: float, seed: int, duration_ms: int, queries: int) -> np.ndarray:
    """Return the arrivals of a block: those within the duration, but at least `queries` of them."""
    mean = rate_per_s * duration_ms / 1000
    found = arrivals(rate_per_s, seed, max(queries, math.ceil(mean + 10 * math.sqrt(mean) + 10)))
    return found[: max(queries, int(np.searchsorted(found, duration_ms * 1e6, side="right")))]
