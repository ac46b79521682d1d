"""What a block of queries is: its plan, its verdict, and how many queries a percentile needs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np

Scenario = Literal["SingleStream", "MultiStream"]
# duration: too short. queries: fewer than min_queries. confidence: too few to be sure of the percentile
# other: the generator says no more
Reason = Literal["duration", "queries", "confidence", "other"]
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
        reasons: why the block has not the duration and the queries that its percentile needs; empty where it has.
        queries: how many queries it counted.
        p50_ns: the median of a query's time as it saw it, its own overhead included.
    """

    generator: str
    reasons: tuple[Reason, ...]
    queries: int
    p50_ns: int

    @property
    def valid(self) -> bool:
        """Whether the generator calls the block valid."""
        return not self.reasons


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


def percentile(ordered: np.ndarray, share: float) -> int:
    """Return a percentile as LoadGen takes it: the value at position n * share of the sorted ones."""
    return int(ordered[min(int(ordered.size * share), ordered.size - 1)])


def explain(plan: Plan, verdict: Verdict, latencies_ns: np.ndarray) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the problems of a block and for each what would make it valid, as `load.verdict.explain` does of load.

    Args:
        latencies_ns: of its queries, at least one.
    """
    problems: list[str] = []
    advice: list[str] = []
    mean_ms, queries = float(latencies_ns.mean()) / 1e6, verdict.queries
    wanted = max(plan.min_queries, queries_needed(plan.percentile))
    if "queries" in verdict.reasons or "confidence" in verdict.reasons:
        name = f"p{100 * plan.percentile:g}"
        problems.append(
            f"{queries} queries are too few for a {name}, {wanted} are needed: at {mean_ms:.3g} ms each "
            f"max_duration_ms {plan.max_duration_ms} allows no more"
        )
        longest = max(1.1 * wanted * mean_ms, plan.max_duration_ms + 1)
        step = 10 ** max(math.floor(math.log10(longest)) - 1, 0)
        advice.append(f"max_duration_ms {math.ceil(longest / step) * step}")
    elif "duration" in verdict.reasons:
        expected_ms = plan.expected_ns / 1e6
        problems.append(
            f"{queries} queries of {mean_ms:.3g} ms are shorter than min_duration_ms {plan.min_duration_ms}: "
            f"{expected_ms:.3g} ms each were expected"
        )
        longer = plan.max_duration_ms <= plan.min_duration_ms
        advice.append(
            f"max_duration_ms above {plan.min_duration_ms}" if longer else "run it again, with a longer warm-up"
        )
    elif verdict.reasons:
        problems.append("the generator calls the block INVALID and does not say why")
        advice.append("report this")
    return tuple(problems), tuple(advice)
