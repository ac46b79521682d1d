"""From the blocks to `bench.json`: figures with intervals, and ratios over the pairs of blocks."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from pipeline import machine
from pipeline.bench import server_time
from pipeline.bench.document import Bench, Ratio, Result, ServerTime, Target, Trial
from pipeline.bench.rounds import Entry, Loaded, Streamed, said
from pipeline.bench.server_time import Asked
from pipeline.bench.settings import Settings
from pipeline.bench.targets import Target as Named
from pipeline.measuring import latency
from pipeline.measuring.histogram import Histogram
from pipeline.measuring.interval import Interval as Measured
from pipeline.measuring.interval import geometric_mean
from pipeline.measuring.load.plan import Load
from pipeline.report.model import Interval

LIBRARIES = (
    "tensorflow", "ai-edge-litert", "onnxruntime", "grpcio", "httpx", "mlcommons-loadgen", "tensorflow-serving-api",
    "numpy",
)  # fmt: skip


def document(entries: Sequence[Entry], settings: Settings, against: Named, *, stopped: bool = False) -> Bench:
    """Return the whole result.

    Args:
        against: the target that ratios are to; of an image, its first protocol.
        stopped: not all has been measured, for the user ended it.
    """
    reference = next(one for one in entries if one.target is against)
    return Bench(
        modelmill=importlib.metadata.version("modelmill"), against=reference.name, seed=settings.seed,
        settings=json.loads(json.dumps(asdict(settings))), targets=tuple(_target(one, reference) for one in entries),
        stopped=stopped, machine=machine.describe(LIBRARIES),
    )  # fmt: skip


def _target(one: Entry, reference: Entry) -> Target:
    facts = one.facts
    served = facts.protocol is not None
    results = []
    notes: list[str] = []
    for streamed in one.streams:
        server, note = _server(one, streamed.asked)
        results.append(_streamed(streamed, _twin(reference, one, streamed), server))
        notes.append(f"{results[-1].title}: {note}" if server and note else note)
    for loaded in one.loads:
        if blocks := loaded.shown():
            found = not any(search.best is None for search in loaded.searches)
            server, note = _server(one, [Asked.under_load(block) for block in blocks] if found else [])
            results.append(_loaded(loaded, _other(reference, one, loaded), server, served=served))
            notes.append(f"{results[-1].title}: {note}" if server and note else note)
            notes += [*(search.client_limit for search in loaded.searches)]
    known: dict[str, object] = {}
    if one.introduction is not None:
        signature = one.introduction.signature
        known = {
            "inputs": tuple(map(str, signature.takes)), "outputs": tuple(map(str, signature.gives)),
            "samples": one.introduction.samples, "version": one.introduction.version,
        }  # fmt: skip
        if one.introduction.one_by_one and (batch := max((result.batch for result in results), default=1)) > 1:
            notes.append(f"it takes no batch: one of {batch} is asked as {batch} requests, one after the other")
    if one.became is not None:
        notes.append(f"the server went on to version {one.became} meanwhile: figures are of several versions")
    error = None if one.failure is None else said(one.failure)
    told = tuple(dict.fromkeys(note for note in notes if note))
    return facts.model_copy(update={**known, "notes": told, "error": error, "results": tuple(results)})


def _server(one: Entry, asked: Sequence[Asked]) -> tuple[ServerTime | None, str]:
    """Return the server's own time per request, and why it is not known."""
    alone = one.introduction is not None and one.introduction.one_by_one
    return server_time.mean(asked, one_by_one=alone)


def _twin(reference: Entry, one: Entry, found: Streamed) -> tuple[str, Streamed] | None:
    """Return the reference's blocks of the same scenario, where they are others than these."""
    if reference is one:
        return None
    same = [other for other in reference.streams if other.latency.settings["batch"] == found.latency.settings["batch"]]
    return (reference.name, same[0]) if same else None


def _other(reference: Entry, one: Entry, found: Loaded) -> tuple[str, Loaded] | None:
    if reference is one:
        return None
    key = found.scenario, found.concurrency
    same = [other for other in reference.loads if (other.scenario, other.concurrency) == key and other.shown()]
    return (reference.name, same[0]) if same else None


def _streamed(found: Streamed, twin: tuple[str, Streamed] | None, server: ServerTime | None) -> Result:
    one = found.latency
    settings = one.settings
    ratios: dict[str, Any] = {}
    if twin is not None:
        against, other = twin
        speedup = latency.speedup(other.latency, one, against=against)
        ratios["latency_speedup"] = Ratio(
            against=against, **speedup.ratio.to_dict(), pairs=speedup.pairs, valid=one.valid and other.latency.valid
        )
    return Result(
        scenario=one.scenario, concurrency=1, batch=int(settings["batch"]), generator=str(settings["generator"]),
        blocks=int(settings["blocks"]), queries=one.queries, percentile=float(settings["percentile"]), valid=one.valid,
        problems=one.problems, advice=one.advice, p50_ms=_interval(one.p50_ms),
        p90_ms=_interval(one.p90_ms), p99_ms=_interval(one.p99_ms), throughput_per_s=_interval(one.throughput_per_s),
        histogram=one.histogram.to_dict(), server=server, **ratios,
    )  # fmt: skip


def _loaded(found: Loaded, twin: tuple[str, Loaded] | None, server: ServerTime | None, *, served: bool) -> Result:
    """Return what a target's blocks of Server or Offline say, of a search those at the highest rate of each round.

    Args:
        twin: the reference's name and blocks.
        served: the model runs in another process, so that the processor time is the client's alone.
    """
    blocks = found.shown()
    first = blocks[0]
    histogram = Histogram(())
    figured = [] if any(search.best is None for search in found.searches) else blocks
    for block in figured:
        histogram = histogram.merge(block.histogram())
    ratios: dict[str, Any] = {}
    if twin is not None:
        against, other = twin
        theirs, valid = other.shown(), found.valid and other.valid
        pairs = list(zip(theirs, blocks, strict=False))
        medians = [(a.percentile_ms(0.5), b.percentile_ms(0.5)) for a, b in pairs]
        rates = [(b.throughput_per_s, a.throughput_per_s) for a, b in pairs]
        highest = [(b.rate_per_s, a.rate_per_s) for a, b in zip(other.searches, found.searches, strict=False)]
        if not found.searches:  # at rates of their own they are not to be compared
            ratios |= _ratio("latency_speedup", against, medians, valid=valid)
            ratios |= _ratio("throughput_ratio", against, rates, valid=valid)
        ratios |= _ratio("max_rate_ratio", against, highest, valid=valid)
    limited = served and any(
        [*(block.client_limited for block in blocks), *(one.client_limit for one in found.searches)]
    )
    trials = [
        Trial(
            round=number, rate_per_s=trial.plan.rate_per_s or 0.0, p99_ms=_finite(trial.percentile_ms(0.99)),
            shed=trial.shed, valid=trial.valid, meets_bound=trial.meets_bound(),
        )
        for number, search in enumerate(found.searches, 1)
        for trial in search.trials
    ]  # fmt: skip
    problems, advice = _said(found)
    return Result(
        scenario=found.scenario, concurrency=found.concurrency, batch=first.plan.batch, generator=first.generator,
        blocks=len(blocks), queries=sum(block.requests for block in figured), percentile=first.plan.percentile,
        valid=found.valid, problems=problems, advice=advice,
        p50_ms=_over(figured, lambda block: block.percentile_ms(0.5)),
        p90_ms=_over(figured, lambda block: block.percentile_ms(0.9)),
        p99_ms=_over(figured, lambda block: block.percentile_ms(0.99)),
        throughput_per_s=_over(figured, lambda block: block.throughput_per_s),
        shed=sum(block.shed for block in figured), late=sum(block.late() for block in figured),
        rate_per_s=None if found.searches else first.plan.rate_per_s, bound_ms=first.plan.bound_ms,
        max_rate_per_s=_mean([search.rate_per_s for search in found.searches]), trials=tuple(trials),
        client_cores=max(block.client_cores for block in blocks), client_limited=limited,
        server=server, histogram=histogram.to_dict(), **ratios,
    )  # fmt: skip


def _said(found: Loaded) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what is wrong with a target's blocks and what to do, each once; of searches by the first that failed."""
    failed = [one for one in found.searches if one.problem]
    if failed:
        which = f"{len(failed)} of {len(found.searches)} searches: " if len(found.searches) > 1 else ""
        return (which + failed[0].problem,), failed[0].advice
    problems = dict.fromkeys(text for block in found.shown() for text in block.problems)
    advice = dict.fromkeys(text for block in found.shown() for text in block.advice)
    return tuple(problems), tuple(advice)


def _ratio(
    key: str, against: str, pairs: Sequence[tuple[float | None, float | None]], *, valid: bool
) -> dict[str, Ratio]:
    usable = [(a, b) for a, b in pairs if a and b and np.isfinite(a) and np.isfinite(b)]
    if len(usable) < 2:
        return {}
    interval = geometric_mean([a / b for a, b in usable])
    return {key: Ratio(against=against, **interval.to_dict(), pairs=len(usable), valid=valid)}


def _over(blocks: Sequence[Load], figure: Callable[[Load], float]) -> Interval | None:
    return _mean([figure(block) for block in blocks])


def _mean(values: Sequence[float | None]) -> Interval | None:
    """Return the geometric mean; None where one is missing, infinite (all were shed) or there are too few."""
    found = [value for value in values if value and np.isfinite(value)]
    if len(found) < max(len(values), 2):
        return None
    return _interval(geometric_mean(found))


def _interval(found: Measured) -> Interval:
    return Interval(**found.to_dict())


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
