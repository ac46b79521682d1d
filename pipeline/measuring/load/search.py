"""The highest rate of arrivals at which a percentile stays under a bound.

`RateSearch` says which rate is tried next, and whoever drives it runs the block of load and says whether that met: here
a block is met when it is valid (99 % sure, by MLPerf's early stopping). A block that is far above what the target can
do ends early, and costs little.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

from pipeline.measuring.load import run, verdict
from pipeline.measuring.load.plan import Load, Plan
from pipeline.measuring.load.workers import Workers

PRECISION = 0.05
# of the most that was answered: at so little load hardly a request waits for another, which makes it late by itself
_LOWEST = 1 / 16
MOST_TRIALS = 30
# bounds that a trial lasts: at a rate 5 % above what can be answered, a backlog has then passed the bound
_BOUNDS = 20
# how many more queries a trial is given where it met the bound, but with too few of them to be sure
_LONGER = 5


class RateSearch:
    """Closes in on the highest rate that is met: exponential search from a start, up or down, then bisection.

    Args:
        start_per_s: the first rate, > 0.
        apart: it ends when the highest rate that met and the lowest that missed are at most this ratio apart, > 1.
        step: the first step up or down, as a ratio > 1; the steps grow, up to doubling.
        least_per_s: no rate below it is tried.

    Attributes:
        met_per_s: the highest rate that met; 0: none did.
        missed_per_s: the lowest that missed; infinite: none did.
    """

    def __init__(self, start_per_s: float, *, apart: float, step: float = 2.0, least_per_s: float = 0.0) -> None:
        self.met_per_s, self.missed_per_s = 0.0, math.inf
        self._next: float | None = start_per_s
        self._apart, self._step, self._least, self._left = apart, step, least_per_s, MOST_TRIALS

    def rate(self) -> float | None:
        """Return the rate of the next block, or None: it is done."""
        return self._next

    def told(self, load: Load, met: bool) -> None:
        """Take in what came of the block at `rate()`."""
        assert self._next is not None
        self._left -= 1
        self._least = max(self._least, _LOWEST * load.throughput_per_s)
        if met:
            self.met_per_s = self._next
        else:
            self.missed_per_s = self._next
        self._next = self._after(load) if self._left else None
        self._step = min(self._step**1.5, 2.0)  # what is far away is soon reached

    def _after(self, load: Load) -> float | None:
        met, missed = self.met_per_s, self.missed_per_s
        if not met:
            # with a backlog, what was answered is about the most that can be
            below = max(min(missed / self._step, 0.9 * load.throughput_per_s), self._least)
            return below if below < missed and not _hopeless(load) else None
        if math.isinf(missed):
            return met * self._step
        return math.sqrt(met * missed) if missed > met * self._apart else None

    def between(self) -> float:
        """Return the rate between the highest that met and the lowest that missed: a point estimate; 0: none met."""
        return self.met_per_s if math.isinf(self.missed_per_s) else math.sqrt(self.met_per_s * self.missed_per_s)


@dataclass(frozen=True)
class Highest:
    """What a search found.

    Attributes:
        rate_per_s: the highest rate whose trial was valid; None: there was none, `problem` says why.
        missed_per_s: the lowest rate above it whose trial was not, at most `precision` above it; None: there was none.
        trials: in the order in which they were made; `plan.rate_per_s` tells the rate.
        problem: why there is no rate, or none that was missed; else empty.
        advice: what would make it one; empty where nothing is known to.
        client_limit: why the rate is the client's and not the target's; else empty.
    """

    rate_per_s: float | None
    missed_per_s: float | None
    trials: tuple[Load, ...]
    problem: str
    client_limit: str
    advice: tuple[str, ...] = ()

    @property
    def best(self) -> Load | None:
        """The trial at the rate found."""
        met = [one for one in self.trials if one.valid and one.plan.rate_per_s == self.rate_per_s]
        return met[-1] if met else None


def search(
    trial: Callable[[float], Load], start_per_s: float, *, precision: float = PRECISION, client: bool = False
) -> Highest:
    """Return the highest rate whose trial is valid.

    Args:
        trial: makes a block of load at a rate.
        start_per_s: a rate to begin with, > 0; a good guess saves trials.
        precision: the rate found and the lowest missed one differ by at most this share, > 0.
        client: whether the model runs in another process, so that `Load.client_cores` is the client's alone.
    """
    trials: list[Load] = []
    closing = RateSearch(start_per_s, apart=1 + precision)
    while (rate := closing.rate()) is not None:
        trials.append(trial(rate))
        closing.told(trials[-1], trials[-1].valid)
    met, missed = closing.met_per_s, closing.missed_per_s
    return Highest(
        rate_per_s=met or None,
        missed_per_s=None if math.isinf(missed) else missed,
        trials=tuple(trials),
        problem=_problem(trials, met, missed),
        client_limit=_client_limit(trials, missed) if client else "",
        advice=() if met else _advice(trials[-1]),
    )


def highest_rate(
    workers: Workers, plan: Plan, *, start_per_s: float | None = None, precision: float = PRECISION,
    client: bool = False,
) -> Highest:  # fmt: skip
    """Return the highest rate that workers answer within the plan's bound.

    Args:
        workers: of the plan's concurrency.
        plan: of every trial, but for its rate; a trial is not shorter than 20 bounds. Repeated searches, for an
            interval, take other seeds.
        start_per_s: None: half of what as many requests alone would give.
        precision, client: as for `search`.

    Raises:
        as `run.block`.
    """
    plan = long_enough(plan)
    return search(
        lambda rate: trial(workers, dataclasses.replace(plan, rate_per_s=rate)), start_per_s or a_start(workers),
        precision=precision, client=client,
    )  # fmt: skip


def long_enough(plan: Plan) -> Plan:
    """Return a plan whose blocks are no shorter than 20 of its bounds."""
    assert plan.bound_ms is not None
    longer = max(plan.min_duration_ms, math.ceil(_BOUNDS * plan.bound_ms))
    return dataclasses.replace(plan, min_duration_ms=longer, max_duration_ms=max(plan.max_duration_ms, longer))


def a_start(workers: Workers) -> float:
    """Return a rate to begin with: half of what as many requests alone would give."""
    return 0.5 * workers.concurrency / (workers.expected_ns / 1e9)


def trial(workers: Workers, plan: Plan) -> Load:
    """Run a block, once more with more queries where it met the bound with too few of them to be sure."""
    load = run.block(workers, plan)
    if load.valid or not load.meets_bound():
        return load
    enough = verdict.enough(load.late() / load.requests, plan.percentile)
    assert plan.rate_per_s is not None
    if enough is None or not load.requests < enough <= _LONGER * load.requests:
        return load
    if enough / plan.rate_per_s > plan.max_duration_ms / 1000:
        return load
    return run.block(workers, dataclasses.replace(plan, min_queries=enough))


def _hopeless(load: Load) -> bool:
    """Return whether every request was late: then one is by itself, and no lower rate helps."""
    return load.late() == load.requests


def _problem(trials: list[Load], met: float, missed: float) -> str:
    if not met:
        last = trials[-1]
        return f"not even {last.plan.rate_per_s:.4g}/s is valid: {'; '.join(last.problems)}"
    if math.isinf(missed):
        return f"no rate was missed up to {met:.4g}/s"
    if len(trials) == MOST_TRIALS:
        return f"{MOST_TRIALS} trials were not enough"
    return ""


def _advice(lowest: Load) -> tuple[str, ...]:
    """Return what would make the lowest rate tried valid; a lower rate is not it, for lower ones were not worth it."""
    reached = lowest.percentile_ms(lowest.plan.percentile)
    if math.isinf(reached):
        return ("a server that refuses fewer requests: a longer queue, or more threads",)
    if not lowest.meets_bound():
        return (f"a bound above {reached:.4g} ms",)
    return tuple(one for one in lowest.advice if not one.startswith("a rate below")) or ("a longer min_duration_ms",)


def _client_limit(trials: list[Load], missed: float) -> str:
    over = [one for one in trials if one.plan.rate_per_s == missed]
    if not over or not over[-1].client_limited:
        return ""
    return (
        f"the client took {over[-1].client_cores:.2f} cores at {missed:.4g}/s: one Python process asks no faster, so"
        " that the target may answer more"
    )
