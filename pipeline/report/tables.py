"""The tables of a report for a terminal: verdict, artifacts, stages and gates."""

from __future__ import annotations

from rich import box
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from pipeline.report.document import Artifact, Interval, Latency, Report, Run

_VERDICT = {"pass": "green", "fail": "red", "error": "red", "incomplete": "yellow"}


def kilobytes(count: int | None) -> str:
    """Return bytes as kB (1000 bytes)."""
    return "-" if count is None else f"{count / 1000:,.1f}"


def percent(value: float | Interval | None) -> str:
    """Return a share as per cent, with its interval where it has one."""
    if value is None:
        return "-"
    if isinstance(value, Interval):
        return f"{value.value:.1%} ({value.low:.1%} to {value.high:.1%})"
    return f"{value:.1%}"


def single_stream(run: Run) -> Latency | None:
    """Return a run's batch-1 latency."""
    return next((latency for latency in run.latency if latency.scenario == "SingleStream"), None)


def batched(run: Run) -> Latency | None:
    """Return a run's batch latency."""
    return next((latency for latency in run.latency if latency.scenario == "MultiStream"), None)


def speedup(latency: Latency | None) -> str:
    """Return a speed-up with its interval."""
    found = latency.speedup if latency else None
    return "-" if found is None else f"{found.value:.2f}x ({found.low:.2f} to {found.high:.2f})"


def size_ratio(artifact: Artifact, report: Report) -> str:
    """Return gzipped bytes of the reference over the artifact's."""
    reference = next((item for item in report.artifacts if item.id == report.reference), None)
    if reference is None or not reference.gzip_bytes or not artifact.gzip_bytes:
        return "-"
    return f"{reference.gzip_bytes / artifact.gzip_bytes:.1f}x"


def _grid(title: str, *columns: str) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", overflow="fold")
    return table


def artifacts(report: Report) -> RenderableType:
    """Return the table of artifacts; an artifact that failed shows its error."""
    table = _grid(
        "Artifacts", "artifact", "runtime", "gzip kB", "smaller", "accuracy", "agrees with Keras", "p50 ms", "p99 ms",
        "faster",
    )  # fmt: skip
    for artifact in report.artifacts:
        name = artifact.id + (" (reference)" if artifact.id == report.reference else "")
        name += " (final)" if artifact.id == report.final else ""
        sizes = kilobytes(artifact.gzip_bytes), size_ratio(artifact, report)
        if artifact.error or not artifact.runs:
            # the error itself comes below the table, where there is room for it
            table.add_row(Text(name), Text("failed", "red") if artifact.error else Text("-"), *sizes, *["-"] * 5)
        for run in artifact.runs:
            one = single_stream(run)
            mark = "" if one is None or one.valid else " INVALID"
            table.add_row(
                Text(name), run.protocol or run.runtime, *sizes,
                percent(run.metrics.get("accuracy")), percent(run.parity.top1_agreement),
                "-" if one is None else f"{one.p50_ms:.3f}", "-" if one is None else f"{one.p99_ms:.3f}{mark}",
                speedup(one),
            )  # fmt: skip
    failed = [
        Text(f"{artifact.id}{' (optional)' if artifact.optional else ''}: {artifact.error}", "red")
        for artifact in report.artifacts
        if artifact.error
    ]
    return Group(table, *failed)


def stages(report: Report) -> RenderableType:
    """Return the table of stages."""
    table = _grid("Stages", "stage", "status", "seconds", "metrics")
    for stage in report.stages:
        seconds = "-" if stage.seconds is None else f"{stage.seconds:.1f}"
        metrics = ", ".join(f"{name} {value:,.6g}" for name, value in stage.metrics.items())
        table.add_row(stage.name, stage.status, seconds, metrics)
    return table


def gates(report: Report) -> RenderableType:
    """Return the table of gates."""
    table = _grid("Gates", "gate", "artifact", "", "found")
    for gate in report.gates:
        mark = Text("pass", "green") if gate.passed else Text("fail", "red")
        table.add_row(gate.name, gate.artifact, mark, Text(gate.message, justify="left"))
    return table


def show(report: Report, console: Console) -> None:
    """Print the whole report."""
    console.print(stages(report))
    if report.artifacts:
        console.print(artifacts(report))
    if report.gates:
        console.print(gates(report))
    if report.failure:
        console.print(Text(report.failure.message, "red"))
    console.print(f"verdict: [bold {_VERDICT[report.verdict]}]{escape(report.verdict)}[/]")
