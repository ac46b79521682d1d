"""The fallback where mlperf_loadgen is missing: the same scenarios, arrivals and rules for `valid`, in Python."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import numpy as np

from pipeline.measuring import loop
from pipeline.measuring.block import percentile
from pipeline.measuring.load.arrivals import scheduled
from pipeline.measuring.load.plan import Plan
from pipeline.measuring.load.requests import Requests
from pipeline.measuring.load.verdict import Verdict, judge, outstanding

_clock = time.perf_counter_ns


def run(requests: Requests, plan: Plan, samples: int) -> Verdict:
    """Run one block; samples come in rising order, from the first again after the last."""
    done: dict[int, int] = {}
    lock = threading.Condition()

    def complete(ids: Sequence[int]) -> None:
        now = _clock()
        with lock:
            done.update(dict.fromkeys(ids, now))
            lock.notify()

    requests.complete = complete
    backlog = False
    begin = _clock()
    if plan.scenario == "Offline":
        offsets = np.zeros(plan.min_queries)
        requests.issue(list(range(plan.min_queries)), [i % samples for i in range(plan.min_queries)], begin)
        issued = plan.min_queries
    else:
        assert plan.rate_per_s is not None
        offsets = scheduled(plan.rate_per_s, plan.seed, plan.min_duration_ms, plan.min_queries)
        issued, most = 0, outstanding(plan)
        for offset in offsets:
            if (left := begin + offset - _clock()) > 0:
                time.sleep(left / 1e9)
            backlog = issued - len(done) > most
            if backlog or _clock() - begin > plan.max_duration_ms * 1e6:
                break
            requests.issue([issued], [issued % samples], _clock())
            issued += 1
    requests.flush()
    with lock:
        lock.wait_for(lambda: len(done) == issued)
    ended = max(done.values())
    latencies = np.sort(np.array([done[i] for i in range(issued)]) - begin - offsets[:issued]).astype(np.int64)
    late = 0 if plan.bound_ms is None else int(np.count_nonzero(latencies > plan.bound_ms * 1e6))
    # Server: how long samples arrived; Offline: how long they took
    duration_ms = (ended - begin) / 1e6 if plan.scenario == "Offline" else max(offsets[issued - 1], 0) / 1e6
    if plan.scenario == "Server" and issued == len(offsets):
        duration_ms = max(duration_ms, plan.min_duration_ms)  # the next arrival would have been after it
    return Verdict(
        loop.NAME,
        judge(plan, issued, late, duration_ms, backlog=backlog),
        issued,
        {
            "median": percentile(latencies, 0.5),
            f"p{100 * plan.percentile:g}": percentile(latencies, plan.percentile),
        },
    )
