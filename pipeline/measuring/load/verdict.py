"""When a block of load is valid, why one is not, and what would make it valid."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from scipy import special

from pipeline.measuring.load.plan import Load, Plan

# duration: too short. queries: too few, for the longest duration was reached. bound: missed by the percentile.
# confidence: met, but by too few queries to be sure. backlog: ended early, for the bound could no longer be met
# other: the generator says no more
Reason = Literal["duration", "queries", "bound", "confidence", "backlog", "other"]
_KEEPS_UP = 0.75  # of the rate: by chance alone no block's samples arrive so much slower
CONFIDENCE = 0.99  # of MLPerf's early stopping


@dataclass(frozen=True)
class Verdict:
    """What the generator of a block says about it.

    Attributes:
        generator: its name and version.
        reasons: why the block is not valid; empty where it is.
        samples: how many it counted.
        times_ns: name of a percentile -> latency of a sample as it saw it, shed ones included.
    """

    generator: str
    reasons: tuple[Reason, ...]
    samples: int
    times_ns: Mapping[str, int]


def judge(plan: Plan, samples: int, late: int, duration_ms: float, *, backlog: bool) -> tuple[Reason, ...]:
    """Return why a block is not valid, by LoadGen's rules: for a generator that has none of its own."""
    if backlog:
        return "bound", "backlog"
    found: list[Reason] = []
    if duration_ms < plan.min_duration_ms:
        found.append("duration")
    if samples < plan.min_queries:
        found.append("queries")
    if plan.scenario == "Server":
        if late > samples * (1 - plan.percentile):
            found.append("bound")
        if samples < needed(late, plan.percentile):
            found.append("confidence")
    return tuple(found)


def needed(late: int, percentile: float) -> int:
    """Return how many queries it takes for `late` of them over the bound to prove that the percentile is within it.

    The smallest n with P(at most `late` of n queries are over the true percentile) < 1 - 0.99 (MLPerf Inference rules,
    "early stopping"): 459 for none over a p99, 662 for one.
    """
    low, high = late, max(2 * late, 16)
    while not _proved(high, late, percentile):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _proved(middle, late, percentile) else (middle, high)
    return high


def _proved(queries: int, late: int, percentile: float) -> bool:
    if queries <= late:
        return False
    return bool(special.bdtr(late, queries, 1 - percentile) < 1 - CONFIDENCE)


def outstanding(plan: Plan) -> int:
    """Return how many samples may wait: with more, so many are late already that the block cannot meet its bound.

    Without a bound all may.
    """
    assert plan.rate_per_s is not None
    total = max(plan.min_queries, plan.rate_per_s * plan.min_duration_ms / 1000)
    if plan.bound_ms is None:
        return math.ceil(total + 10 * math.sqrt(total) + 10)  # more do not arrive by chance
    young = plan.rate_per_s * plan.bound_ms / 1000  # that arrived within the bound: they may still be in time
    most = total * (1 - plan.percentile) + 1.5 * young + 5 * math.sqrt(young) + 10 + plan.concurrency
    return math.ceil(min(most, total + 1))


def explain(load: Load, reasons: tuple[Reason, ...]) -> tuple[list[str], list[str]]:
    """Return the problems of a block and what would make it valid.

    Args:
        load: the block's numbers.
        reasons: the generator's; our own are added.
    """
    plan, samples = load.plan, load.requests * load.plan.batch
    problems: list[str] = []
    advice: list[str] = []

    def say(problem: str, remedy: str) -> None:
        problems.append(problem)
        advice.append(remedy)

    if "other" in reasons:
        say("the generator calls the block INVALID and does not say why", "report this")
    if plan.scenario == "Offline":
        if "duration" in reasons:
            problem = f"{load.seconds * 1000:.0f} ms are shorter than min_duration_ms {plan.min_duration_ms}"
            say(problem, f"samples enough for {load.throughput_per_s:.4g}/s, which was not known: run it again")
        if "queries" in reasons or samples < plan.min_queries:
            longest = math.ceil(plan.min_queries / max(load.throughput_per_s, 1e-9) * 1000)
            problem = f"{samples} samples, min_queries is {plan.min_queries}: max_duration_ms allows no more"
            say(problem, f"max_duration_ms {longest}")
        if load.shed:
            problem = f"{load.shed} of {load.requests} requests of {plan.batch} were refused: the server had too many"
            say(problem, f"a concurrency below {plan.concurrency}")
        return problems, advice

    assert plan.rate_per_s is not None
    over = "" if plan.bound_ms is None else f" ({load.late()} over the bound)"
    if plan.bound_ms is None and load.throughput_per_s < _KEEPS_UP * plan.rate_per_s:
        problem = f"{load.throughput_per_s:.4g}/s were answered of {plan.rate_per_s:.4g}/s that arrived"
        say(f"{problem}: latencies grow for as long as samples arrive", f"a rate below {load.throughput_per_s:.4g}/s")
    name, late = f"p{100 * plan.percentile:g}", load.late()
    if "bound" in reasons or not load.meets_bound():
        # where a backlog grows, no rate above what was answered can do; else the arrivals were as many as by chance
        grows = load.throughput_per_s < 0.9 * plan.rate_per_s
        below = f"a rate below {load.throughput_per_s if grows else plan.rate_per_s:.4g}/s"
        ended = " so far: the block was ended, for the bound could no longer be met" if "backlog" in reasons else ""
        reached = load.percentile_ms(plan.percentile)
        if math.isinf(reached):
            problem = f"{load.shed} of {load.requests} requests were shed{ended}"
            say(problem, f"{below}; no bound is met with more than {1 - plan.percentile:.3g} of them shed")
        else:
            shed = f", {load.shed} of {load.requests} requests were shed" if load.shed else ""
            problem = f"the {name} is {reached:.4g} ms{shed}, the bound {plan.bound_ms:g} ms{ended}"
            # what a backlog would have grown to is not known
            say(problem, below if "backlog" in reasons else f"{below}, or a bound above {reached:.4g} ms")
    elif "confidence" in reasons:
        share = late / max(load.requests, 1)
        wanted = enough(share, plan.percentile)
        problem = f"{load.requests} queries are too few for a {name}{over}"
        if wanted is None:
            say(problem, f"a rate below {plan.rate_per_s:.4g}/s: {share:.3%} late are too near to the bound's share")
        else:
            say(problem, f"at least {wanted} queries for a {name}: min_duration_ms {_ms(wanted, plan.rate_per_s)}")
    if "queries" in reasons:
        problem = f"{load.requests} queries, min_queries is {plan.min_queries}: max_duration_ms was reached"
        say(problem, f"max_duration_ms {_ms(plan.min_queries, plan.rate_per_s)}")
    if "duration" in reasons and "backlog" not in reasons:
        problem = f"the block was shorter than min_duration_ms {plan.min_duration_ms}"
        say(problem, f"max_duration_ms above {plan.min_duration_ms}")
    return problems, advice


def enough(share: float, percentile: float) -> int | None:
    """Return how many queries prove the percentile where this share of them is late, None for over a million."""
    queries = needed(0, percentile)
    while queries <= 1_000_000:
        more = needed(math.ceil(share * queries), percentile)
        if more <= queries:
            return queries
        queries = more
    return None


def _ms(queries: int, rate_per_s: float) -> int:
    """Return a duration, ms in two digits, in which so many arrive; a Poisson process may be 3 deviations slower."""
    seconds = (queries + 3 * math.sqrt(queries)) / rate_per_s
    step: int = 10 ** max(math.floor(math.log10(seconds * 1000)) - 1, 0)
    return int(math.ceil(seconds * 1000 / step) * step)
