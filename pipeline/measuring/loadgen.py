"""One block of queries by MLPerf LoadGen (https://github.com/mlcommons/inference, Reddi et al., 2020).

LoadGen writes its logs into a folder of our choice and prints nothing there; the verdict is read from its detail log,
which is JSON. An exception must not pass through LoadGen: it leaves a thread behind that aborts the process at the
next test. So the query callback never raises (see `block.Query`), and it must not run in the main thread, where
Python raises KeyboardInterrupt even before the callback's first line.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import RunError
from pipeline.measuring.block import Plan, Query, Reason, Verdict

_PREFIX = ":::MLLOG "
Issue = Callable[[list[int], list[int], int], None]
_MET: dict[str, Reason] = {  # the keys of LoadGen's log, and the reason where one is false
    "result_min_duration_met": "duration",
    "result_min_queries_met": "queries",
    "early_stopping_met": "confidence",
}


def run(query: Query, samples: int, plan: Plan) -> Verdict:
    """Run one block; LoadGen draws samples with fixed seeds, so each block has the same ones in the same order.

    Raises:
        RunError: LoadGen's log has no verdict.
    """

    def issue(ids: list[int], indices: list[int], _: int) -> None:
        query(indices)
        complete(ids)

    stream = "single_stream" if plan.scenario == "SingleStream" else "multi_stream"
    settings: dict[str, Any] = {
        f"{stream}_expected_latency_ns": plan.expected_ns,
        f"{stream}_target_latency_percentile": plan.percentile,
        "min_duration_ms": plan.min_duration_ms,
        "max_duration_ms": plan.max_duration_ms,
        "min_query_count": plan.min_queries,
    }
    if plan.scenario == "MultiStream":
        settings["multi_stream_samples_per_query"] = plan.batch
    return _verdict(session(issue, max(samples, plan.batch), samples, plan.scenario, settings))


def complete(ids: Sequence[int]) -> None:
    """Tell LoadGen that these are answered; from any thread."""
    import mlperf_loadgen as lg

    lg.QuerySamplesComplete([lg.QuerySampleResponse(one, 0, 0) for one in ids])


def session(
    issue: Issue, library: int, samples: int, scenario: str,
    settings: Mapping[str, Any], flush: Callable[[], None] = lambda: None,
) -> dict[str, Any]:  # fmt: skip
    """Run one block of LoadGen and return its detail log: key -> value; of a key that came twice, the last.

    Args:
        issue: takes the ids and the sample numbers of a query and when it came, by time.perf_counter_ns, and never
            raises; `complete` is called for each id.
        library: how many samples LoadGen believes there are, at least those of one query.
        samples: how many there are.
        scenario: SingleStream, MultiStream, Server or Offline.
        settings: of lg.TestSettings.
        flush: called when all queries have been issued.
    """
    import mlperf_loadgen as lg

    def issue_query(queries: Any) -> None:
        now = time.perf_counter_ns()
        ids, indices = [], []
        for one in queries:
            ids.append(one.id)
            indices.append(one.index % samples)
        issue(ids, indices, now)

    def nothing(*_: object) -> None:
        """Load and unload samples: all are in memory."""

    test = lg.TestSettings()
    test.mode = lg.TestMode.PerformanceOnly
    test.scenario = getattr(lg.TestScenario, scenario)
    for key, value in settings.items():
        setattr(test, key, value)
    with tempfile.TemporaryDirectory(prefix="modelmill-loadgen-") as folder:
        system = lg.ConstructSUT(issue_query, flush)
        all_samples = lg.ConstructQSL(library, library, nothing, nothing)
        try:
            # the last argument: LoadGen would read an audit.config from the working directory
            lg.StartTestWithLogSettings(
                system, all_samples, test, _logs(lg, folder), str(Path(folder) / "no-audit.config")
            )
        finally:
            lg.DestroyQSL(all_samples)
            lg.DestroySUT(system)
        log = (Path(folder) / "mlperf_log_detail.txt").read_text(encoding="utf-8", errors="replace")
    return parse(log)


def _logs(lg: Any, folder: str) -> Any:
    output = lg.LogOutputSettings()
    output.outdir = folder
    output.copy_summary_to_stdout = False
    output.copy_detail_to_stdout = False
    logs = lg.LogSettings()
    logs.log_output = output
    logs.enable_trace = False
    return logs


def parse(log: str) -> dict[str, Any]:
    """Return the entries of a detail log."""
    values: dict[str, Any] = {}
    for line in log.splitlines():
        if line.startswith(_PREFIX):
            entry = json.loads(line.removeprefix(_PREFIX))
            values[entry["key"]] = entry["value"]
    return values


def version(values: Mapping[str, Any]) -> str:
    """Return LoadGen's name and version."""
    return f"mlperf_loadgen {str(value(values, 'loadgen_version')).split(' ')[0]}"


def _verdict(values: Mapping[str, Any]) -> Verdict:
    valid = value(values, "result_validity") == "VALID"
    reasons: tuple[Reason, ...] = tuple(reason for key, reason in _MET.items() if values.get(key) is False)
    return Verdict(
        generator=version(values),
        reasons=() if valid else reasons or ("other",),
        queries=int(value(values, "result_query_count")),
        p50_ns=int(value(values, "result_50.00_percentile_latency_ns", "result_50.00_percentile_per_query_latency_ns")),
    )


def value(values: Mapping[str, Any], *names: str) -> Any:
    """Return the entry of a detail log that has one of these names.

    Raises:
        RunError: there is none.
    """
    for name in names:
        if name in values:
            return values[name]
    raise RunError(
        "MLPerf LoadGen gave no result",
        expected=f"'{names[0]}' in its detail log",
        found=", ".join(sorted(name for name in values if name.startswith("result"))) or "no result at all",
        todo="install the version of mlcommons-loadgen that pyproject.toml names",
    )
