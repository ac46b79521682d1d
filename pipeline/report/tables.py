"""The tables of a report for a terminal: verdict, artifacts, stages and gates."""

from __future__ import annotations

from rich import box
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from pipeline.report.document import Artifact, Interval, Report, Run, Speedup

_VERDICT = {"pass": "green", "fail": "red", "error": "red", "incomplete": "yellow"}


def number(value: float) -> str:
    """Return a count in full, up to a billion, and anything else in four digits."""
    return f"{value:,.0f}" if abs(value) < 1e9 and value == int(value) else f"{value:.4g}"


def kilobytes(count: int | None) -> str:
    """Return bytes as kB (1000 bytes)."""
    return "-" if count is None else f"{count / 1000:,.1f}"


def percent(share: float) -> str:
    """Return a share as a number of per cent."""
    return f"{100 * share:.1f}"


def size_ratio(artifact: Artifact, report: Report) -> str:
    """Return gzipped bytes of the reference over the artifact's."""
    reference = next((item for item in report.artifacts if item.id == report.reference), None)
    if reference is None or not reference.gzip_bytes or not artifact.gzip_bytes:
        return "-"
    return f"{reference.gzip_bytes / artifact.gzip_bytes:.1f}x"


def _grid(title: str, *columns: str) -> Table:
    table = Table(
        title=title,
        box=box.SIMPLE_HEAD,
        title_justify="left",
        title_style="bold",
        pad_edge=False,
        collapse_padding=True,
    )
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", overflow="fold")
    return table


def _pair(value: str, below: str) -> Text:
    """Return a cell of two lines; two short lines keep the table within 80 columns."""
    return Text.assemble(value, "\n", (below, "dim"))


def _spread(interval: Interval | Speedup | None, form: str, unit: str, scale: float = 1) -> Text:
    if interval is None:
        return Text("-")
    value, low, high = (format(scale * number, form) for number in (interval.value, interval.low, interval.high))
    return _pair(value + unit, f"{low}..{high}")


def place(run: Run) -> str:
    """Return where an artifact ran: the runtime, or the protocol and the target that served it."""
    return f"{run.protocol}, {run.target}" if run.protocol else run.runtime


def serving(report: Report) -> list[str]:
    """Return sentences on how the SavedModels were served: by what, why not by another target, and what they survived.

    Empty where nothing was served.
    """
    if report.serving is None:
        return []
    runs = [run for artifact in report.artifacts for run in artifact.runs if run.protocol]
    if not runs:
        return [f"To be served by {report.serving.target}: no figures came of it"]
    lines = [f"Served by {report.serving.target}"]
    if server := runs[0].server:
        named = " ".join(part for part in (server["implementation"], server["version"]) if part)
        image = f" in {server['image']}" if server["image"] else ""
        over = dict.fromkeys(f"{run.protocol} ({run.encoding})" for run in runs)
        lines[0] += f": {named}{image}, over {' and '.join(over)}"
        asked = {"model": "model", "model_version": "version", "label": "label"}
        if server.get("address"):
            which = " ".join(f"{word} {server[key]}" for key, word in asked.items() if server.get(key))
            lines[0] += f"; asked was {which} at {server['address']}"
        if server["implementation"] == "modelmill":
            lines[0] += "; these are the figures of our own server, not TF Serving's"
    lines += [f"Not {name}: {reason}" for name, reason in report.serving.passed_over.items()]
    checks = [(run, check) for run in runs for check in run.checks]
    if checks and not any(check.problems for _, check in checks):
        count = ", ".join(f"{check.requests} over {run.protocol}" for run, check in checks)
        lines.append(
            f"Malformed requests ({count}): each got INVALID_ARGUMENT, and the server went on answering as before"
        )
    return lines


def caption(report: Report) -> str:
    """Return what the latencies rest on: the load generator, the blocks, the threads and the number of queries."""
    found = [(run, one) for artifact in report.artifacts for run in artifact.runs if (one := run.single_stream())]
    if not found:
        return ""
    queries = [one.queries for _, one in found]
    one = found[0][1]
    counts = {place(run): run.threads for run, _ in found}
    said = {name: f"{'unknown' if n is None else n} thread{'' if n == 1 else 's'}" for name, n in counts.items()}
    # one number where all have the same, else each with its own
    threads = next(iter(said.values())) if len(set(said.values())) == 1 else ", ".join(map(": ".join, said.items()))
    return (
        f"p50 and p99 of one sample: {one.scenario} by {one.settings['generator']}, {one.settings['blocks']} blocks "
        f"that alternate with the other files there, {threads}, "
        f"{min(queries):,} to {max(queries):,} queries each; faster: against the reference's float32 file there"
    )


def artifacts(report: Report) -> RenderableType:
    """Return the table of artifacts; an artifact that failed shows its error below the table."""
    table = _grid(
        "Artifacts", "artifact\nruntime", "gzip kB\nratio", "accuracy\n95 %", "as\nKeras", "p50 ms\np99", "faster\n95 %"
    )
    for artifact in report.artifacts:
        marks = [
            mark for mark, chosen in (("reference", report.reference), ("final", report.final)) if artifact.id == chosen
        ]
        sizes = _pair(kilobytes(artifact.gzip_bytes), size_ratio(artifact, report))
        if not artifact.runs:
            failed = Text("failed", "red") if artifact.error else Text("not measured")
            table.add_row(_pair(artifact.id, ", ".join(marks)), sizes, failed, "-", "-", "-")
        for run in artifact.runs:
            one = run.single_stream()
            latency = Text("-") if one is None else _pair(f"{one.p50_ms:.3f}", f"{one.p99_ms:.3f}")
            if one and not one.valid:
                latency.append("\nINVALID", "red")
            table.add_row(
                _pair(artifact.id, ", ".join([place(run), *marks])), sizes,
                _spread(run.metrics.get("accuracy"), ".1f", " %", 100), f"{percent(run.parity.top1_agreement)} %",
                latency,
                _spread(one.speedup if one else None, ".2f", "x"),
            )  # fmt: skip
    failures = [
        Text(f"{artifact.id}{' (optional)' if artifact.optional else ''}: {artifact.error}", "red")
        for artifact in report.artifacts
        if artifact.error
    ]
    notes = [Text(line, "dim") for line in (*serving(report), caption(report)) if line]
    return Group(table, *notes, *failures)


def stages(report: Report) -> RenderableType:
    """Return the table of stages."""
    table = _grid("Stages", "stage", "status", "seconds", "metrics")
    for stage in report.stages:
        seconds = "-" if stage.seconds is None else f"{stage.seconds:.1f}"
        metrics = ", ".join(f"{name} {number(value)}" for name, value in stage.metrics.items())
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
