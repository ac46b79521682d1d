"""One block of queries by MLPerf LoadGen (https://github.com/mlcommons/inference, Reddi et al., 2020).

LoadGen writes its logs into a folder of our choice and prints nothing there; the verdict is read from its detail log,
which is JSON. An exception must not pass through LoadGen: it leaves a thread behind that aborts the process at the
next test. So the query callback never raises (see `block.Query`), and it must not run in the main thread, where
Python raises KeyboardInterrupt even before the callback's first line.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import RunError
from pipeline.measuring.block import Plan, Query, Verdict

_PREFIX = ":::MLLOG "
_MET = {  # the keys of LoadGen's log, and what it means where one is false
    "result_min_duration_met": "the block was shorter than min_duration_ms",
    "result_min_queries_met": "fewer queries than min_queries",
    "early_stopping_met": "too few queries for the percentile",
}


def run(query: Query, samples: int, plan: Plan) -> Verdict:
    """Run one block; LoadGen draws samples with fixed seeds, so each block has the same ones in the same order.

    Raises:
        RunError: LoadGen's log has no verdict.
    """
    import mlperf_loadgen as lg

    def issue(queries: Any) -> None:
        query([sample.index % samples for sample in queries])
        lg.QuerySamplesComplete([lg.QuerySampleResponse(sample.id, 0, 0) for sample in queries])

    def nothing(*_: object) -> None:
        """Flush queries, load and unload samples: all samples are in memory."""

    count = max(samples, plan.batch)
    with tempfile.TemporaryDirectory(prefix="modelmill-loadgen-") as folder:
        system = lg.ConstructSUT(issue, nothing)
        library = lg.ConstructQSL(count, count, nothing, nothing)
        try:
            # the last argument: LoadGen would read an audit.config from the working directory
            lg.StartTestWithLogSettings(
                system, library, _settings(lg, plan), _logs(lg, folder), str(Path(folder) / "no-audit.config")
            )
        finally:
            lg.DestroyQSL(library)
            lg.DestroySUT(system)
        return _verdict((Path(folder) / "mlperf_log_detail.txt").read_text(encoding="utf-8", errors="replace"))


def _settings(lg: Any, plan: Plan) -> Any:
    settings = lg.TestSettings()
    settings.mode = lg.TestMode.PerformanceOnly
    settings.scenario = getattr(lg.TestScenario, plan.scenario)
    if plan.scenario == "SingleStream":
        settings.single_stream_expected_latency_ns = plan.expected_ns
        settings.single_stream_target_latency_percentile = plan.percentile
    else:
        settings.multi_stream_samples_per_query = plan.batch
        settings.multi_stream_expected_latency_ns = plan.expected_ns
        settings.multi_stream_target_latency_percentile = plan.percentile
    settings.min_duration_ms = plan.min_duration_ms
    settings.max_duration_ms = plan.max_duration_ms
    settings.min_query_count = plan.min_queries
    return settings


def _logs(lg: Any, folder: str) -> Any:
    output = lg.LogOutputSettings()
    output.outdir = folder
    output.copy_summary_to_stdout = False
    output.copy_detail_to_stdout = False
    logs = lg.LogSettings()
    logs.log_output = output
    logs.enable_trace = False
    return logs


def _verdict(log: str) -> Verdict:
    values: dict[str, Any] = {}
    for line in log.splitlines():
        if line.startswith(_PREFIX):
            entry = json.loads(line.removeprefix(_PREFIX))
            values[entry["key"]] = entry["value"]
    valid = _value(values, "result_validity") == "VALID"
    problems = [text for key, text in _MET.items() if values.get(key) is False]
    return Verdict(
        generator=f"mlperf_loadgen {str(_value(values, 'loadgen_version')).split(' ')[0]}",
        valid=valid,
        problem="" if valid else "; ".join(problems) or "LoadGen calls the block INVALID",
        queries=int(_value(values, "result_query_count")),
        p50_ns=int(
            _value(values, "result_50.00_percentile_latency_ns", "result_50.00_percentile_per_query_latency_ns")
        ),
    )


def _value(values: Mapping[str, Any], *names: str) -> Any:
    for name in names:
        if name in values:
            return values[name]
    raise RunError(
        "MLPerf LoadGen gave no result",
        expected=f"'{names[0]}' in its detail log",
        found=", ".join(sorted(name for name in values if name.startswith("result"))) or "no result at all",
        todo="install the version of mlcommons-loadgen that pyproject.toml names",
    )
