"""What a block of queries is: its plan, its verdict, and how many queries a percentile needs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

Scenario = Literal["SingleStream", "MultiStream"]
Query = Callable[[Sequence[int]], None]  # takes sample numbers, returns when the model has answered, never raises


@dataclass(frozen=True)
class Plan:
    """One block: at least `min_queries` queries and `min_duration_ms`, at most `max_duration_ms`.

    Attributes:
        scenario: SingleStream sends one sample, MultiStream `batch` samples, each query when the last is answered.
        expected_ns: a query's expected time; too high a value makes LoadGen prepare too few queries.
        percentile: which percentile the block must be long enough for, in (0, 1).
    """

    scenario: Scenario
    batch: int
    min_queries: int
    min_duration_ms: int
    max_duration_ms: int
    percentile: float
    expected_ns: int


@dataclass(frozen=True)
class Verdict:
    """What the generator of a block says about it.

    Attributes:
        generator: the generator's name and version.
        valid: whether the block had the duration and the queries that its percentile needs.
        problem: why not; empty where valid.
        queries: how many queries it counted.
        p50_ns: the median of a query's time as it saw it, its own overhead included.
    """

    generator: str
    valid: bool
    problem: str
    queries: int
    p50_ns: int


class Generator(Protocol):
    """Runs a block: `loadgen.run` or, where there is no LoadGen, `loop.run`."""

    def __call__(self, query: Query, samples: int, plan: Plan) -> Verdict:
        """Send queries for sample numbers in 0..samples-1, the same ones in the same order for the same plan."""
        ...


def queries_needed(percentile: float, confidence: float = 0.99) -> int:
    """Return how many queries a percentile needs: MLPerf's early-stopping rule with one query over the limit.

    The smallest n with P(at most 1 of n queries is slower than the true percentile) < 1 - confidence
    (MLPerf Inference rules, "early stopping"): 64 for 0.90, 662 for 0.99.
    """
    n = max(2, math.ceil(math.log(1 - confidence) / math.log(percentile)))
    while percentile**n + n * (1 - percentile) * percentile ** (n - 1) >= 1 - confidence:
        n += 1
    return n
