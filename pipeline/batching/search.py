"""Successive halving over batching parameters (Jamieson and Talwalkar, 2016), in alternating blocks of load.

What is compared is the highest rate of arrivals that meets the bound. In every rung each candidate closes in on its
own: the candidates take turns, one block each, so that whatever the machine does meanwhile hits all of them. The
better half goes on, until one is left; no batching runs to the end, whatever it is worth.

What that one buys is measured anew, in pairs of searches of it and of no batching. It was chosen before the first pair,
and both searches of a pair begin at the same rate, which no pair decides: so the pairs are independent of the choice
and of each other, and an interval from them is what it says.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pipeline.batching.candidates import NONE, Candidate
from pipeline.measuring.load.plan import Load
from pipeline.measuring.load.search import RateSearch
from pipeline.students_t import geometric_mean

# so many are left when the best of them is also tried padded
LAST = 2
# rates further below the first one than this are not tried: the bound is out of reach
_LEAST = 1 / 64
# estimates that differ by less are a tie: a search tells no finer
RESOLUTION = 1.05


class Measure(Protocol):
    """Runs a block of load."""

    def __call__(self, candidate: Candidate, rate_per_s: float, turn: int) -> Load:
        """Return what came of arrivals at a rate; in the same turn they are the same for every candidate."""
        ...


@dataclass(frozen=True)
class Pace:
    """How a search goes: its first step up or down, and how near what met and what missed are in the end, as ratios."""

    step: float
    apart: float


COARSE, FINE = Pace(2.0, 1.5), Pace(1.2, 1.15)


@dataclass
class Arm:
    """A candidate in the search, and what was measured of it.

    Attributes:
        rungs: how many it was in, each pair of the end counted as one.
        blocks: all of its blocks, in their order.
        max_rates: the point estimate of each search, 1/s; 0 where no rate met the bound.
        finals: those of the pairs.
        since: how many blocks it had when its latest rung, or the pairs, began.
    """

    candidate: Candidate
    rungs: int = 0
    blocks: list[Load] = field(default_factory=list)
    max_rates: list[float] = field(default_factory=list)
    finals: list[float] = field(default_factory=list)
    since: int = 0

    def max_rate(self) -> float:
        """Return the highest rate that meets the bound: the geometric mean of the pairs', or of all searches."""
        rates = self.finals or self.max_rates
        if not rates or min(rates) <= 0:
            return 0.0
        return math.exp(math.fsum(map(math.log, rates)) / len(rates))

    def at(self, rate: float) -> list[Load]:
        """Return the blocks at a rate."""
        return [one for one in self.blocks if one.plan.rate_per_s == rate]

    def recent(self) -> list[Load]:
        """Return the blocks of its latest rung that met the bound."""
        return [one for one in self.blocks[self.since :] if one.meets_bound()]

    def serves(self, rate: float | None) -> bool:
        """Return whether it meets the bound: in every search, and at a rate in all blocks there together."""
        return self.max_rate() > 0 and (rate is None or meets(self.at(rate)))


@dataclass(frozen=True)
class Outcome:
    """What a search has found.

    Attributes:
        arms: of no batching first, then of the candidates in the order in which they were tried.
        finalist: the candidate that was compared with no batching in the end; None: there was no candidate.
    """

    arms: tuple[Arm, ...]
    finalist: Arm | None

    @property
    def baseline(self) -> Arm:
        """No batching."""
        return self.arms[0]

    @property
    def ratio(self) -> tuple[float, float, float] | None:
        """The finalist's highest rate over that of no batching, with its 95 % interval over the pairs.

        None: one of them met the bound at no rate in some pair, so that there is no ratio; or there is no finalist.
        """
        if self.finalist is None:
            return None
        pairs = list(zip(self.finalist.finals, self.baseline.finals, strict=True))
        if not all(mine > 0 and base > 0 for mine, base in pairs):
            return None
        return geometric_mean([mine / base for mine, base in pairs])


def search(
    candidates: Iterable[Candidate], measure: Measure, *, start: float, rate: float | None, pairs: int,
    least: float = 0.0, refine: Callable[[Candidate], Iterable[Candidate]] = lambda _: (),
    tell: Callable[[str], None] = lambda _: None,
) -> Outcome:  # fmt: skip
    """Search for the parameters with the highest rate that meets the bound.

    Args:
        candidates: beside no batching.
        measure: runs a block; whether it met the bound is `Load.meets_bound`, a point estimate.
        start: the rate of the first block, 1/s.
        rate: what has to be met; None: as much as possible.
        pairs: of searches in the end, >= 2.
        least: below it a block has too few requests to tell a percentile; nor is much less than `start` tried.
        refine: makes further candidates of the best one, when few are left.
        tell: is told of each rung, in words.
    """
    run = _Search(measure, start, max(least, start * _LEAST))
    baseline, tried = Arm(NONE), [Arm(one) for one in candidates]
    tell(f"{len(tried)} candidates and no batching, from {start:.4g}/s")
    run.rung([baseline, *tried], COARSE)
    left = _ranked(tried)
    while len(left) > 1:
        left = left[: max(len(left) // 2, LAST)]
        further = [Arm(one) for one in refine(left[0].candidate)] if len(left) == LAST else []
        # from where the one stands that they are made of
        starts = {id(one): left[0].max_rate() for one in further}
        padded = f", and {len(further)} made of {left[0].candidate.name}" if further else ""
        tell(f"{len(left)} candidates go on{padded}")
        run.rung([baseline, *left, *further], FINE, starts)
        tried += further
        left = _ranked([*left, *further])[: 1 if len(left) == LAST else None]
    finalist = left[0] if left else None
    both = [baseline, *left]
    start = baseline.max_rate() or (finalist.max_rate() if finalist else 0.0) or run.least
    for pair in range(pairs if left else 1):  # alone it is compared with nothing
        tell(f"pair {pair + 1} of {pairs}: {' and '.join(one.candidate.name for one in reversed(both))}")
        run.pair(both, start)
        if rate is not None:
            run.turn(both, [rate] * len(both))
    return Outcome((baseline, *tried), finalist)


def meets(blocks: Sequence[Load]) -> bool:
    """Return whether of all requests of some blocks as many are in time as the percentile asks for."""
    requests = sum(one.requests for one in blocks)
    return requests > 0 and late_share(blocks) <= 1 - blocks[0].plan.percentile + 1e-12


def late_share(blocks: Sequence[Load]) -> float:
    """Return the share of requests that were answered after the bound or shed; blocks of one request at least."""
    return sum(one.late() for one in blocks) / sum(one.requests for one in blocks)


class _Search:
    """Runs the blocks of a search, in turns."""

    def __init__(self, measure: Measure, start: float, least: float) -> None:
        self._measure, self._start, self.least = measure, start, least
        self._turn, self._random = 0, random.Random(0)

    def rung(self, arms: Sequence[Arm], pace: Pace, starts: dict[int, float] | None = None) -> None:
        """Let each arm find its highest rate, from where it stands, or from `starts` by its id."""
        for arm in arms:
            arm.since = len(arm.blocks)
        # what met the bound nowhere is tried once more at the least rate; a rate that was asked for is tried as it is
        begins = [
            self._near((starts or {}).get(id(arm)) or arm.max_rate() or self.least, pace)
            if arm.max_rates or (starts and id(arm) in starts)
            else self._start
            for arm in arms
        ]
        self._climb(arms, begins, pace)

    def pair(self, arms: Sequence[Arm], start: float) -> None:
        """Let the arms find their highest rates from the same rate."""
        for arm in arms:
            arm.since = arm.since if arm.finals else len(arm.blocks)
        found = self._climb(arms, [self._near(start, FINE)] * len(arms), FINE)
        for arm, rate in zip(arms, found, strict=True):
            arm.finals.append(rate)

    def turn(self, arms: Sequence[Arm], rates: Sequence[float]) -> list[Load]:
        """Run one block of each arm; at the same rate they have the same arrivals."""
        self._turn += 1
        blocks = [self._measure(one.candidate, rate, self._turn) for one, rate in zip(arms, rates, strict=True)]
        for arm, block in zip(arms, blocks, strict=True):
            arm.blocks.append(block)
        return blocks

    def _near(self, rate: float, pace: Pace) -> float:
        """Return a rate at most half a step off: searches that agree would else agree to the last digit."""
        return float(rate * pace.step ** self._random.uniform(-0.5, 0.5))

    def _climb(self, arms: Sequence[Arm], starts: Sequence[float], pace: Pace) -> list[float]:
        """Return the highest rate of each arm, found block by block in turns."""
        searches = [
            RateSearch(start, apart=pace.apart, step=pace.step, least_per_s=self.least) for start in starts
        ]  # fmt: skip
        while busy := [
            (arm, one, rate) for arm, one in zip(arms, searches, strict=True) if (rate := one.rate()) is not None
        ]:
            blocks = self.turn([arm for arm, _, _ in busy], [rate for _, _, rate in busy])
            for (_, one, _), block in zip(busy, blocks, strict=True):
                one.told(block, block.meets_bound())
        found = [one.between() for one in searches]
        for arm, rate in zip(arms, found, strict=True):
            arm.rungs += 1
            arm.max_rates.append(rate)
        return found


def _ranked(arms: Sequence[Arm]) -> list[Arm]:
    """Return the best first: by the highest rate, and of those that no search tells apart by the lower latency."""

    def tail(arm: Arm) -> float:
        blocks = arm.recent()
        return (
            math.exp(math.fsum(math.log(one.percentile_ms(one.plan.percentile)) for one in blocks) / len(blocks))
            if blocks
            else math.inf
        )

    ranked = sorted(arms, key=lambda one: -one.max_rate())
    if ranked and ranked[0].max_rate() > 0:
        ties = [one for one in ranked if one.max_rate() * RESOLUTION >= ranked[0].max_rate()]
        ranked = [*sorted(ties, key=tail), *ranked[len(ties) :]]
    return ranked
