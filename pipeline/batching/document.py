"""batching.json: every candidate with every block of load, and what came of the search. Keys only ever get added."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from pipeline.batching.search import Arm, Outcome, late_share, meets
from pipeline.config import Frozen
from pipeline.measuring.load.plan import Load
from pipeline.measuring.load.verdict import needed
from pipeline.report.model import Interval
from pipeline.students_t import geometric_mean
from serving.config import BatchingConfig


class Block(Frozen):
    """A block of load; latencies are null where the percentile's request was shed."""

    rate_per_s: float
    turn: int
    requests: int
    shed: int
    late: int
    met: bool
    valid: bool
    problems: tuple[str, ...]
    p50_ms: float | None
    p99_ms: float | None
    throughput_per_s: float
    seconds: float
    client_cores: float


class Pooled(Frozen):
    """Some blocks together; `proved`: they are enough for the percentile, by MLPerf's early stopping (99 % sure)."""

    blocks: int
    requests: int
    shed_share: float
    late_share: float
    met: bool
    valid: int
    proved: bool
    p50_ms: Interval | None
    p99_ms: Interval | None


class Trial(Frozen):
    """A candidate.

    `parameters`: null: no batching. `max_rate_per_s`: the highest rate that meets the bound, a point estimate: between
    the highest rate whose block met it and the lowest whose block did not, the percentile of each block as it came out;
    the geometric mean of the `searches` of the last rung that it was in, with an interval where there are two or more.
    `max_valid_rate_per_s`: the highest rate of a block that is valid, by MLPerf's early stopping (99 % sure), as
    `modelmill bench` searches it; null: none is. `pooled`: all blocks at the rate that was asked for together, or,
    where none was, those of the last rung that met the bound; the latencies are geometric means over the blocks with
    Student's t interval.
    """

    name: str
    parameters: BatchingConfig | None
    rungs: int
    max_rate_per_s: Interval
    max_valid_rate_per_s: float | None
    searches: int
    pooled: Pooled | None
    blocks: tuple[Block, ...]


class Search(Frozen):
    """The whole of `batching.json`; see `Trial`.

    `verdict`: "found": the file is written; "no gain": no batching serves the load as well, as far as was measured;
    "missed": none meets the bound at the rate. `finalist`: the best candidate, chosen before it was compared with no
    batching; null: there was none. `max_rate_ratio`: its highest rate over that of no batching, by `pairs` of searches
    in turns. `warmup_left_out`: samples of the model's warm-up requests that its servers went without, because they
    are above its max_batch_size.
    """

    schema_: Literal[1] = Field(default=1, alias="schema")
    modelmill: str
    model: str
    rate_per_s: float | None
    bound_ms: float
    percentile: float
    protocol: str
    concurrency: int
    encoding: str
    flags: tuple[str, ...]
    samples: str
    target: str
    server: dict[str, Any]
    threads: int
    machine: dict[str, Any]
    seconds: float
    scaling_ms: dict[int, float]
    left_out: tuple[str, ...]
    trials: tuple[Trial, ...]
    verdict: Literal["found", "no gain", "missed"]
    finalist: str | None
    max_rate_ratio: Interval | None
    pairs: int
    client_limited: bool
    warmup_left_out: tuple[int, ...] = ()

    @property
    def baseline(self) -> Trial:
        """No batching."""
        return self.trials[0]

    def trial(self, name: str | None) -> Trial | None:
        """Return the candidate of a name."""
        return next((one for one in self.trials if one.name == name), None)


def verdict(outcome: Outcome, rate: float | None) -> Literal["found", "no gain", "missed"]:
    """Return what came of a search: parameters that meet what was asked for, and surely buy something."""
    baseline, finalist = outcome.baseline, outcome.finalist
    if finalist is None or not finalist.serves(rate):
        return "no gain" if baseline.serves(rate) else "missed"
    if outcome.ratio is None:  # where no batching met the bound in some searches, nothing tells how much is bought
        return "no gain" if any(baseline.finals) else "found"
    # whole above 1: what the interval leaves open is not shipped as a gain
    return "found" if outcome.ratio[1] > 1 else "no gain"


def trial(arm: Arm, rate: float | None) -> Trial:
    """Return a candidate's part of the document."""
    rates = arm.finals or arm.max_rates[-1:]
    some = arm.recent() if rate is None else arm.at(rate)
    return Trial(
        name=arm.candidate.name, parameters=arm.candidate.batching, rungs=arm.rungs,
        max_rate_per_s=_interval(rates) or _point(arm.max_rate()), searches=len(rates),
        max_valid_rate_per_s=max((one.plan.rate_per_s or 0.0 for one in arm.blocks if one.valid), default=None),
        pooled=_together(some) if some else None, blocks=tuple(map(_block, arm.blocks)),
    )  # fmt: skip


def client_limited(arms: Sequence[Arm]) -> bool:
    """Return whether the client was at its own limit when the highest rate of some arm was searched for."""
    return any(one.client_limited for arm in arms for one in arm.blocks if one.meets_bound())


def _together(blocks: Sequence[Load]) -> Pooled:
    percentile = blocks[0].plan.percentile
    requests, late = (sum(counts) for counts in zip(*((one.requests, one.late()) for one in blocks), strict=True))
    return Pooled(
        blocks=len(blocks), requests=requests, late_share=late_share(blocks), met=meets(blocks),
        shed_share=sum(one.shed for one in blocks) / requests,
        proved=requests >= needed(late, percentile), valid=sum(one.valid for one in blocks),
        p50_ms=_interval([one.percentile_ms(0.5) for one in blocks]),
        p99_ms=_interval([one.percentile_ms(percentile) for one in blocks]),
    )  # fmt: skip


def _block(load: Load) -> Block:
    assert load.plan.rate_per_s is not None
    return Block(
        rate_per_s=load.plan.rate_per_s, turn=load.plan.seed, requests=load.requests, shed=load.shed, late=load.late(),
        met=load.meets_bound(), valid=load.valid, problems=load.problems, p50_ms=_finite(load.percentile_ms(0.5)),
        p99_ms=_finite(load.percentile_ms(load.plan.percentile)), throughput_per_s=load.throughput_per_s,
        seconds=load.seconds, client_cores=load.client_cores,
    )  # fmt: skip


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _interval(values: Sequence[float]) -> Interval | None:
    """Return the geometric mean with its interval; None where one is not positive and finite."""
    if not values or not all(0 < one < math.inf for one in values):
        return None
    if len(values) == 1:
        return _point(values[0])
    value, low, high = geometric_mean(values)
    return Interval(value=value, low=low, high=high)


def _point(value: float) -> Interval:
    return Interval(value=value, low=value, high=value)
