"""Latency and throughput of predictors that take turns, by MLPerf LoadGen, and the speed-up between them.

The predictors run in alternating blocks (A B C A B C ...), so that whatever the machine does meanwhile hits all of
them. A percentile is taken per block, as LoadGen takes it; the value shown is the geometric mean over the blocks and
the interval Student's t over their logarithms: queries within a block are not independent, blocks nearly are.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.errors import RunError
from pipeline.measuring import conditions, loop, turns
from pipeline.measuring.block import Generator, Plan, Scenario, percentile, queries_needed
from pipeline.measuring.histogram import Histogram
from pipeline.measuring.interval import Interval, geometric_mean
from pipeline.measuring.latency_config import LatencyConfig
from pipeline.predictor import LOGITS, Predictor, Samples, count

Progress = Callable[[int, int], None]  # blocks done, blocks in all
_PERCENTILES = {"p50": 0.50, "p90": 0.90, "p99": 0.99}


@dataclass(frozen=True)
class Latency:
    """How fast one predictor answers.

    Attributes:
        scenario: "SingleStream" (one sample per query) or "MultiStream" (a batch per query).
        queries: in all blocks together.
        valid: whether the generator called every block valid, and its numbers agree with ours.
        problems: why not, each reason once.
        advice: what would make it valid, such as "max_duration_ms 68000".
        settings: the generator's name and version and what it was told; shown in the report.
        p50_ms, p90_ms, p99_ms: time of a query, milliseconds; `valid` is no word on those above settings' percentile.
        throughput_per_s: samples per second while the model works, without the generator's own time.
        histogram: of all queries.
        block_p50_ms: the median of each block, in the order of the turns.
    """

    scenario: Scenario
    queries: int
    valid: bool
    problems: tuple[str, ...]
    settings: Mapping[str, str | int | float]
    p50_ms: Interval
    p90_ms: Interval
    p99_ms: Interval
    throughput_per_s: Interval
    histogram: Histogram
    block_p50_ms: tuple[float, ...]
    advice: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """Return the keys of report.json; the interval of `p99_ms` is `p99_low` to `p99_high`, in the same unit."""
        form: dict[str, object] = {
            "scenario": self.scenario,
            "queries": self.queries,
            "valid": self.valid,
            "problems": list(self.problems),
            "settings": dict(self.settings),
        }
        for name, unit in (("p50", "_ms"), ("p90", "_ms"), ("p99", "_ms"), ("throughput", "_per_s")):
            interval: Interval = getattr(self, name + unit)
            form |= {name + unit: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
        return form | {"block_p50_ms": list(self.block_p50_ms), "histogram": self.histogram.to_dict()}


@dataclass(frozen=True)
class Speedup:
    """Median latency of the reference over this one's: more than 1 is faster. `pairs` of blocks make the interval."""

    against: str
    ratio: Interval
    pairs: int

    def to_dict(self) -> dict[str, str | int | float]:
        """Return {"against", "value", "low", "high", "pairs"}."""
        return {"against": self.against, **self.ratio.to_dict(), "pairs": self.pairs}


def speedup(reference: Latency, this: Latency, *, against: str) -> Speedup:
    """Return the geometric mean of the blocks' ratios reference / this, with Student's t interval over the pairs.

    Args:
        reference, this: results of one `measure` call, so that block i of one ran next to block i of the other.
        against: the reference's name.

    Raises:
        RunError: the two were not measured in the same blocks.
    """
    left, right = (
        (one.scenario, one.settings.get("batch"), one.settings.get("generator"), len(one.block_p50_ms))
        for one in (reference, this)
    )
    if left != right:
        raise RunError(
            f"no speed-up against {against} can be computed",
            expected="two models measured in alternating blocks",
            found=f"scenario, batch, generator and blocks {left} against {right}",
            todo="measure both in one call",
        )
    ratios = np.divide(reference.block_p50_ms, this.block_p50_ms)
    return Speedup(against, geometric_mean(ratios), len(ratios))


def measure(
    predictors: Mapping[str, Predictor],
    samples: Samples,
    config: LatencyConfig,
    *,
    batch: int = 1,
    ends: Sequence[str] = (LOGITS,),
    instead: Mapping[str, Samples] | None = None,
    progress: Progress | None = None,
) -> dict[str, Latency]:
    """Measure predictors in alternating blocks: SingleStream for batch 1, else MultiStream.

    It runs in a thread of its own, which Ctrl-C does not interrupt: KeyboardInterrupt arrives when the running query
    is answered and the block has been ended in order. Python's cyclic garbage collection pauses during a block.

    Args:
        predictors: name -> predictor, in the order of their turns; the reference first. All of one runtime.
        samples: the raw test split, n >= 1.
        config: blocks and their length; the `batch_*` keys count where batch > 1.
        batch: samples per query, >= 1.
        ends: the outputs that every predictor has.
        instead: name -> the same samples in the form that this predictor takes, such as token ids of texts.
        progress: called between blocks, in the measuring thread.

    Returns:
        name -> Latency, in the order given.

    Raises:
        RunError: nothing to measure, or a model without finite `ends`; and whatever a predictor raises.
    """
    if not predictors or count(samples) < 1 or batch < 1:
        raise RunError(
            "there is nothing to measure",
            expected="at least 1 model, 1 sample and a batch of 1",
            found=f"{len(predictors)} models, {count(samples)} samples, a batch of {batch}",
            todo="measure over the test split",
        )
    stop = threading.Event()
    common, own = _ready(samples), {name: _ready(form) for name, form in (instead or {}).items()}
    given = {name: own.get(name, common) for name in predictors}
    return conditions.in_thread(lambda: _measure(predictors, given, config, batch, ends, progress, stop), stop)


def _ready(samples: Samples) -> Samples:
    """Return samples as they are sent: one after another in memory; strings and token ids stay what they are."""
    if not isinstance(samples, np.ndarray):
        return samples
    return np.ascontiguousarray(samples, dtype=np.float32 if samples.dtype.kind == "f" else None)


def _measure(
    predictors: Mapping[str, Predictor],
    given: Mapping[str, Samples],
    config: LatencyConfig,
    batch: int,
    ends: Sequence[str],
    progress: Progress | None,
    stop: threading.Event,
) -> dict[str, Latency]:
    generate, fallback = generator()
    plans = {
        name: plan(config, batch, turns.warm_up(name, one, given[name], batch, config.warmup_queries, stop, ends))
        for name, one in predictors.items()
    }
    seen: dict[str, list[turns.Turn]] = {name: [] for name in predictors}
    warmup, total = config.block_warmup_queries, config.blocks * len(predictors)
    for done in range(config.blocks):
        for position, (name, one) in enumerate(predictors.items()):
            seen[name].append(turns.run(name, one, given[name], plans[name], generate, stop, warmup=warmup))
            if progress is not None:
                progress(done * len(predictors) + position + 1, total)
    return {name: summary(seen[name], plans[name], config, fallback) for name in predictors}


def generator() -> tuple[Generator, str]:
    """Return LoadGen or the named fallback; the name is empty where the generator tells its own."""
    missing = loop.missing()
    if missing:
        return loop.run, missing
    from pipeline.measuring import loadgen

    return loadgen.run, ""


def plan(config: LatencyConfig, batch: int, expected_ns: int) -> Plan:
    """Return a block of single queries, or of batches.

    Args:
        expected_ns: what `turns.warm_up` gave.
    """
    single = batch == 1
    percentile = config.percentile if single else config.batch_percentile
    return Plan(
        scenario="SingleStream" if single else "MultiStream",
        batch=batch,
        min_queries=max(config.min_queries, queries_needed(percentile)),
        min_duration_ms=config.min_block_ms if single else config.batch_min_block_ms,
        max_duration_ms=config.max_block_ms,
        percentile=percentile,
        expected_ns=expected_ns,
    )


def summary(seen: Sequence[turns.Turn], plan: Plan, config: LatencyConfig, fallback: str) -> Latency:
    """Return what one predictor's blocks say together.

    Args:
        seen: its turns, at least 2.
        plan: of every block.
        config: for the settings that are shown.
        fallback: the second of what `generator` gave.
    """
    blocks = [turn.latencies_ns for turn in seen]
    quantiles = {name: [percentile(block, share) / 1e6 for block in blocks] for name, share in _PERCENTILES.items()}
    problems = tuple(dict.fromkeys(text for turn in seen for text in turn.problems))
    return Latency(
        scenario=plan.scenario,
        queries=sum(block.size for block in blocks),
        valid=not problems and all(turn.verdict.valid for turn in seen),
        problems=problems,
        settings={
            "generator": fallback or seen[0].verdict.generator,
            "blocks": config.blocks,
            "batch": plan.batch,
            "percentile": plan.percentile,
            "min_queries": plan.min_queries,
            "min_duration_ms": plan.min_duration_ms,
            "max_duration_ms": plan.max_duration_ms,
            "expected_latency_ns": plan.expected_ns,
            "warmup_queries": config.warmup_queries,
            "block_warmup_queries": config.block_warmup_queries,
        },
        p50_ms=geometric_mean(quantiles["p50"]),
        p90_ms=geometric_mean(quantiles["p90"]),
        p99_ms=geometric_mean(quantiles["p99"]),
        throughput_per_s=geometric_mean([1e9 * plan.batch * block.size / int(block.sum()) for block in blocks]),
        histogram=Histogram.of(np.concatenate(blocks)),
        block_p50_ms=tuple(quantiles["p50"]),
        advice=tuple(dict.fromkeys(text for turn in seen for text in turn.advice)),
    )
