"""One block of load: MLPerf LoadGen's Server or Offline, or the named fallback's, answered by workers.

The generator's thread only queues; the workers answer and tell it. Latencies are ours, from when each sample was
scheduled; the generator's own percentiles are what they are checked against.
"""

from __future__ import annotations

import dataclasses
import math
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext

import numpy as np

from pipeline.errors import RunError
from pipeline.measuring import conditions, loop, turns
from pipeline.measuring.block import percentile
from pipeline.measuring.load import by_loop
from pipeline.measuring.load.arrivals import arrivals
from pipeline.measuring.load.plan import Load, Open, Plan
from pipeline.measuring.load.requests import Answer, Requests
from pipeline.measuring.load.verdict import Reason, Verdict, explain
from pipeline.measuring.load.workers import Workers
from pipeline.predictor import Samples, count

_MORE = 1.2  # samples of Offline above what the known rate takes the shortest duration for: it may have been too low

_TRIES = 3  # of Offline: the rate that tells how many samples it takes is known better after each


def run(open_one: Open, samples: Samples, plan: Plan, *, name: str = "the model") -> Load:
    """Run one block with workers of its own; see `block`, and `Workers` where there are several blocks."""
    with Workers(name, open_one, plan.concurrency, samples) as workers:
        return block(workers, plan)


def block(workers: Workers, plan: Plan) -> Load:
    """Run one block.

    It runs in a thread of its own, which Ctrl-C does not interrupt: KeyboardInterrupt arrives when the requests in
    flight are answered and the block has been ended in order. Python's cyclic garbage collection pauses.

    Args:
        workers: `plan.concurrency` of them.
        plan: what to ask.

    Raises:
        RunError: other workers than the plan's; the generator's numbers cannot be about the same samples as ours; and
            whatever a predictor raises, but a request that the server sheds.
    """
    if workers.concurrency != plan.concurrency:
        raise RunError(
            "the workers are not the plan's", expected=f"{plan.concurrency} workers",
            found=str(workers.concurrency), todo="report this",
        )  # fmt: skip
    stop = threading.Event()
    return conditions.in_thread(lambda: _block(workers, plan, stop), stop)


def _block(workers: Workers, plan: Plan, stop: threading.Event) -> Load:
    for _ in range(_TRIES):
        load, reasons = _once(workers, plan, stop)
        if plan.scenario != "Offline" or reasons != ("duration",):
            break
    return load


def _once(workers: Workers, plan: Plan, stop: threading.Event) -> tuple[Load, tuple[Reason, ...]]:
    generate, fallback = _generator()
    asked = plan
    if plan.scenario == "Offline":
        asked = dataclasses.replace(plan, min_queries=_samples(plan, workers.rate_per_s(plan.batch, stop)))
    workers.again()
    hold_ns = int((plan.bound_ms or 0) * 1e6)
    requests = Requests(workers.samples, workers.queue, batch=plan.batch, hold_ns=hold_ns, stop=stop)
    conditions.sharp_sleep()
    # the calibration, the queries of `again` and another try's requests are not the block's: they are not counted
    with workers.watch or nullcontext(), conditions.no_collection():
        cores, begin = time.process_time(), time.perf_counter()
        try:
            verdict = generate(requests, asked, count(workers.samples))
        finally:
            requests.close()
        client_cores = (time.process_time() - cores) / (time.perf_counter() - begin)
    if requests.failures:
        raise requests.failures[0]
    if stop.is_set():
        raise KeyboardInterrupt
    load = _load(workers.name, plan, requests, verdict, client_cores)
    if plan.scenario == "Offline":
        workers.learned(plan.batch, load.throughput_per_s)
    told = workers.watch.told if workers.watch else None
    return dataclasses.replace(load, generator=fallback or load.generator, told=told), verdict.reasons


def _generator() -> tuple[Callable[[Requests, Plan, int], Verdict], str]:
    """Return LoadGen or the named fallback; the name is empty where the generator tells its own."""
    missing = loop.missing()
    if missing:
        return by_loop.run, missing
    from pipeline.measuring.load import by_loadgen

    return by_loadgen.run, ""


def _samples(plan: Plan, rate_per_s: float) -> int:
    """Return how many samples of Offline are generated, in whole requests: all at once, so none can be added."""
    wanted = max(plan.min_queries, _MORE * rate_per_s * plan.min_duration_ms / 1000)
    most = max(rate_per_s * plan.max_duration_ms / 1000, 1)
    return max(math.ceil(min(wanted, most) / plan.batch), 1) * plan.batch


def _load(name: str, plan: Plan, requests: Requests, verdict: Verdict, client_cores: float) -> Load:
    answers = requests.answers
    issued = np.asarray(requests.issued_ns)
    if plan.scenario == "Server":
        assert plan.rate_per_s is not None
        due = arrivals(plan.rate_per_s, plan.seed, len(issued))
        due += (issued - due).min()  # a sample is never issued before it is due, and the quickest hardly after
    else:
        due = issued.astype(np.float64)
    problem = turns.disagreement(
        name, verdict.generator, (verdict.samples, sum(one.samples for one in answers)), _both(answers, due, verdict)
    )
    answered = [one for one in answers if not one.shed]
    starts = [due[one.first] if plan.scenario == "Server" else one.sent_ns for one in answered]
    latencies = np.sort(np.array([one.answered_ns for one in answered], dtype=np.float64) - starts).astype(np.int64)
    begin = due[0] if plan.scenario == "Server" else min(one.sent_ns for one in answers)
    seconds = (max(one.answered_ns for one in answers) - begin) / 1e9
    load = Load(
        plan=plan,
        generator=verdict.generator,
        latencies_ns=latencies,
        shed=len(answers) - len(answered),
        seconds=seconds,
        throughput_per_s=sum(one.samples for one in answered) / seconds,
        valid=False,
        problems=(),
        advice=(),
        client_cores=client_cores,
        request_ms=float(np.mean([one.answered_ns - one.sent_ns for one in answered])) / 1e6 if answered else math.nan,
    )
    problems, advice = explain(load, verdict.reasons)
    if problem:
        problems.append(problem)
        advice.append("an idle machine")
    return dataclasses.replace(
        load, valid=not problems and not verdict.reasons, problems=tuple(problems), advice=tuple(advice)
    )


def _both(answers: list[Answer], due: np.ndarray, verdict: Verdict) -> dict[str, tuple[int, int]]:
    """Return the generator's percentiles and ours, of each sample from when it was due until the generator was told."""
    first = np.array([one.first for one in answers])
    sizes = np.array([one.samples for one in answers])
    told = np.repeat([one.told_ns for one in answers], sizes)
    positions = np.concatenate([np.arange(f, f + n) for f, n in zip(first, sizes, strict=True)])
    ours = np.sort(told - due[positions])
    return {
        name: (theirs, percentile(ours, 0.5 if name == "median" else float(name[1:]) / 100))
        for name, theirs in verdict.times_ns.items()
    }
