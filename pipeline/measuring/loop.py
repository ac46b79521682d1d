"""The fallback where mlperf_loadgen is missing: the same scenarios and the same rule for `valid`, in a Python loop."""

from __future__ import annotations

import time

from pipeline.measuring.block import Plan, Query, Reason, Verdict, queries_needed

NAME = "modelmill loop"


def missing() -> str:
    """Return this generator's name with why it has to be used, an empty text where LoadGen can be."""
    try:
        import mlperf_loadgen  # noqa: F401
    except ModuleNotFoundError:
        return f"{NAME}: mlperf_loadgen is not installed"
    except ImportError as error:
        return f"{NAME}: mlperf_loadgen cannot be loaded ({error})"
    return ""


def run(query: Query, samples: int, plan: Plan) -> Verdict:
    """Run one block; samples come in rising order, from the first again after the last."""
    latencies: list[int] = []
    needed = max(plan.min_queries, queries_needed(plan.percentile))
    position, clock = 0, time.perf_counter_ns
    begin = now = clock()
    while True:
        indices = [(position + i) % samples for i in range(plan.batch)]
        position = (position + plan.batch) % samples
        start = clock()
        query(indices)
        now = clock()
        latencies.append(now - start)
        elapsed_ms = (now - begin) / 1e6
        if (len(latencies) >= needed and elapsed_ms >= plan.min_duration_ms) or elapsed_ms > plan.max_duration_ms:
            break
    reasons: tuple[Reason, ...] = ("queries",) if len(latencies) < needed else ()
    return Verdict(NAME, reasons, len(latencies), sorted(latencies)[len(latencies) // 2])
