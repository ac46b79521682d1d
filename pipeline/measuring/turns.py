"""One predictor's turns: the warm-up that tells what to expect, and a block whose times we take ourselves."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np

from pipeline.errors import RunError
from pipeline.measuring import checks, conditions
from pipeline.measuring.block import Generator, Plan, Verdict, explain, percentile
from pipeline.predictor import LOGITS, Predictor, Samples, count, rows
from serving.client.monitoring import Told, Watch


@dataclass(frozen=True)
class Turn:
    """One block of one predictor.

    Attributes:
        latencies_ns: int64 [queries], sorted; the time in `predict` alone.
        verdict: what the generator says.
        problems: why the block does not count as valid, by the generator or by our check of its numbers.
        advice: for each what would make it valid.
        told: what the server said of the block's own queries, where one was watched.
    """

    latencies_ns: np.ndarray
    verdict: Verdict
    problems: tuple[str, ...]
    advice: tuple[str, ...]
    told: Told | None = None


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
        given = take(samples, [(i * batch + j) % count(samples) for j in range(batch)])
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
    watch: Watch | None = None,
) -> Turn:
    """Run one block, after `warmup` queries that do not count.

    Args:
        watch: reads the counters of the server that is asked, before the block's first query and after its last.

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
            given = take(samples, indices)
            start = clock()
            predictor.predict(given)
            end = clock()
        except BaseException as error:  # noqa: BLE001 - it must not pass through LoadGen, see loadgen.py
            failures.append(error)
            return
        latencies.append(end - start)
        spans.append(clock() - entered)

    for i in range(warmup):
        predictor.predict(take(samples, [(i + j) % count(samples) for j in range(plan.batch)]))
    with watch or nullcontext(), conditions.no_collection():
        verdict = generator(query, count(samples), plan)
    if failures:
        raise failures[0]
    if stop.is_set():
        raise KeyboardInterrupt
    times = np.sort(np.asarray(latencies, dtype=np.int64))
    problems, advice = explain(plan, verdict, times)
    if not problems and (busy := _disagreement(name, verdict, np.sort(np.asarray(spans)))):
        problems, advice = (busy,), ("an idle machine",)
    return Turn(times, verdict, problems, advice, watch.told if watch else None)


def take(samples: Samples, indices: Sequence[int]) -> Samples:
    """Return samples by their numbers; one is a view, and nothing is copied."""
    if len(indices) == 1:
        return rows(samples, slice(indices[0], indices[0] + 1))
    return rows(samples, np.asarray(indices))


def _disagreement(name: str, verdict: Verdict, spans: np.ndarray) -> str:
    times = {"median": (verdict.p50_ns, percentile(spans, 0.5))}
    return disagreement(name, verdict.generator, (verdict.queries, len(spans)), times)


def disagreement(name: str, generator: str, queries: tuple[int, int], times: Mapping[str, tuple[int, int]]) -> str:
    """Return why a generator's numbers and ours differ more than its own work explains, or an empty text.

    Args:
        name: what was measured, for the message.
        generator: its name.
        queries: how many it counted, and how many we did.
        times: name of a percentile -> its and our value, nanoseconds.

    Raises:
        RunError: they cannot be about the same queries.
    """
    for which, (theirs, ours) in times.items():
        # 2 us and 2 %: the clocks differ. 200 us and 25 %: what a busy machine adds between the two
        if queries[0] != queries[1] or theirs < 0.98 * ours - 2_000:
            raise RunError(
                f"the load generator's numbers for {name} are not ours",
                expected=f"{queries[1]} queries, {which} {ours} ns",
                found=f"{queries[0]} queries, {which} {theirs} ns by {generator}",
                todo="report this",
            )
        if theirs > 1.25 * ours + 200_000:
            return f"{generator} saw a {which} of {theirs} ns where the model took {ours} ns: a busy machine"
    return ""
