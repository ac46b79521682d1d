"""One predictor's turns: the warm-up that tells what to expect, and a block whose times we take ourselves."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.errors import RunError
from pipeline.measuring import checks
from pipeline.measuring.block import Generator, Plan, Verdict
from pipeline.predictor import LOGITS, Predictor, Samples, count, rows


@dataclass(frozen=True)
class Turn:
    """One block of one predictor.

    Attributes:
        latencies_ns: int64 [queries], sorted; the time in `predict` alone.
        verdict: what the generator says.
        problem: why the block does not count as valid, by the generator or by our check of its numbers; else empty.
    """

    latencies_ns: np.ndarray
    verdict: Verdict
    problem: str


def warm_up(
    name: str, predictor: Predictor, samples: Samples, batch: int, queries: int, stop: threading.Event,
    ends: Sequence[str] = (LOGITS,),
) -> int:  # fmt: skip
    """Return the shortest of the later warm-up queries, nanoseconds.

    Args:
        ends: the outputs that have to be there.

    Raises:
        RunError: the first answer has not these outputs for every sample, or not finite.
    """
    times: list[int] = []
    for i in range(queries):
        if stop.is_set():
            raise KeyboardInterrupt
        given = _take(samples, [(i * batch + j) % count(samples) for j in range(batch)])
        start = time.perf_counter_ns()
        outputs = predictor.predict(given)
        times.append(time.perf_counter_ns() - start)
        if i == 0:
            for end in ends:
                found = checks.end(outputs, end, who=name)
                if found.shape[0] != batch:
                    raise RunError(
                        f"{name} does not answer every sample",
                        expected=f"{end} for {batch} samples",
                        found=f"{end} of shape {list(found.shape)}",
                        todo="export the model with a dynamic batch",
                    )
    return max(min(times[len(times) // 2 :]), 1000)


def run(
    name: str,
    predictor: Predictor,
    samples: Samples,
    plan: Plan,
    generator: Generator,
    stop: threading.Event,
    *,
    warmup: int,
) -> Turn:
    """Run one block, after `warmup` queries that do not count.

    Raises:
        KeyboardInterrupt: `stop` was set meanwhile.
        RunError: the generator's numbers cannot be about the same queries as ours; and whatever the predictor raises.
    """
    latencies: list[int] = []  # the model alone
    spans: list[int] = []  # with our own work: what the generator's numbers are checked against
    failures: list[BaseException] = []
    clock = time.perf_counter_ns

    def query(indices: Sequence[int]) -> None:
        # after a failure the rest of the block is answered with nothing: it cannot be ended from here
        if failures or stop.is_set():
            return
        entered = clock()
        try:
            given = _take(samples, indices)
            start = clock()
            predictor.predict(given)
            end = clock()
        except BaseException as error:  # noqa: BLE001 - it must not pass through LoadGen, see loadgen.py
            failures.append(error)
            return
        latencies.append(end - start)
        spans.append(clock() - entered)

    for i in range(warmup):
        predictor.predict(_take(samples, [(i + j) % count(samples) for j in range(plan.batch)]))
    collecting = gc.isenabled()
    gc.collect(0)
    gc.disable()
    try:
        verdict = generator(query, count(samples), plan)
    finally:
        if collecting:
            gc.enable()
    if failures:
        raise failures[0]
    if stop.is_set():
        raise KeyboardInterrupt
    problem = verdict.problem or _disagreement(name, verdict, np.sort(np.asarray(spans)))
    return Turn(np.sort(np.asarray(latencies, dtype=np.int64)), verdict, problem)


def percentile(ordered: np.ndarray, share: float) -> int:
    """Return a percentile as LoadGen takes it: the value at position n * share of the sorted ones."""
    return int(ordered[min(int(ordered.size * share), ordered.size - 1)])


def _take(samples: Samples, indices: Sequence[int]) -> Samples:
    if len(indices) == 1:
        return rows(samples, slice(indices[0], indices[0] + 1))  # views: nothing is copied
    return rows(samples, np.asarray(indices))


def _disagreement(name: str, verdict: Verdict, spans: np.ndarray) -> str:
    """Return why the generator's numbers and ours differ more than its own work explains, or an empty text.

    Raises:
        RunError: they cannot be about the same queries.
    """
    ours = percentile(spans, 0.5)
    # 2 us and 2 %: the clocks differ. 200 us and 25 %: what a busy machine adds between the two
    if verdict.queries != len(spans) or verdict.p50_ns < 0.98 * ours - 2_000:
        raise RunError(
            f"the load generator's numbers for {name} are not ours",
            expected=f"{len(spans)} queries, median {ours} ns",
            found=f"{verdict.queries} queries, median {verdict.p50_ns} ns by {verdict.generator}",
            todo="report this",
        )
    if verdict.p50_ns > 1.25 * ours + 200_000:
        return f"{verdict.generator} saw a median of {verdict.p50_ns} ns where the model took {ours} ns: a busy machine"
    return ""
