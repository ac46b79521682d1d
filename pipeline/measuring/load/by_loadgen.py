"""A block of load by MLPerf LoadGen."""

from __future__ import annotations

from typing import Any

from pipeline.measuring import loadgen
from pipeline.measuring.load.plan import Plan
from pipeline.measuring.load.requests import Requests
from pipeline.measuring.load.verdict import Reason, Verdict, outstanding

_MET: dict[str, Reason] = {  # the keys of LoadGen's log, and the reason where one is false
    "result_perf_constraints_met": "bound",
    "result_min_duration_met": "duration",
    "result_min_queries_met": "queries",
    "early_stopping_met": "confidence",
}
_NEVER_MS = 1e9  # LoadGen wants a bound where we have none: one that no latency reaches
_TOLD = {0.9: "90.00", 0.95: "95.00", 0.97: "97.00", 0.99: "99.00", 0.999: "99.90"}


def run(requests: Requests, plan: Plan, samples: int) -> Verdict:
    """Run one block; `samples` is how many there are, for Offline `plan.min_queries` how many are asked for.

    Raises:
        RunError: LoadGen's log has no verdict.
    """
    settings: dict[str, Any] = {
        "min_duration_ms": plan.min_duration_ms,
        "max_duration_ms": plan.max_duration_ms,
        "min_query_count": plan.min_queries,
        "schedule_rng_seed": plan.seed,
        "sample_index_rng_seed": plan.seed,
        "qsl_rng_seed": plan.seed,
    }
    if plan.scenario == "Server":
        bound_ms = _NEVER_MS if plan.bound_ms is None else plan.bound_ms
        settings |= {
            "server_target_qps": plan.rate_per_s,
            "server_target_latency_ns": int(bound_ms * 1e6),
            "server_target_latency_percentile": plan.percentile,
            "server_max_async_queries": outstanding(plan),
            "server_coalesce_queries": False,  # one sample a request
        }
    else:
        # LoadGen generates 1.1 times what this rate needs for the duration, or min_query_count: it shall be the latter
        settings["offline_expected_qps"] = max(plan.min_queries / (1.2 * plan.min_duration_ms / 1000), 1e-3)
    requests.complete = loadgen.complete
    # LoadGen draws from so many samples without repeating one; a small set is enlarged by its own
    library = max(samples, 1)
    values = loadgen.session(requests.issue, library, samples, plan.scenario, settings, requests.flush)
    return verdict(values, plan)


def verdict(values: dict[str, Any], plan: Plan) -> Verdict:
    """Return what LoadGen's detail log says about a block.

    Raises:
        RunError: it has no verdict.
    """
    valid = loadgen.value(values, "result_validity") == "VALID"
    reasons: tuple[Reason, ...] = tuple(reason for key, reason in _MET.items() if values.get(key) is False)
    if "Too many outstanding" in str(values.get("error_runtime", "")):
        reasons = "bound", "backlog"
    count = "effective_samples_per_query" if plan.scenario == "Offline" else "result_query_count"
    times = {"median": int(loadgen.value(values, "result_50.00_percentile_latency_ns"))}
    if plan.percentile in _TOLD:
        key = f"result_{_TOLD[plan.percentile]}_percentile_latency_ns"
        times[f"p{100 * plan.percentile:g}"] = int(loadgen.value(values, key))
    return Verdict(
        generator=loadgen.version(values),
        reasons=() if valid else reasons or ("other",),
        samples=int(loadgen.value(values, count)),
        times_ns=times,
    )
