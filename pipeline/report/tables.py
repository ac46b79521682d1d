"""The tables of a report for a terminal: stages, what each bought, artifacts, gates and the verdict."""

from __future__ import annotations

from rich import box
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from pipeline.compress.sensitivity_table import Sensitivity
from pipeline.report import beside, channels, channels_or_zeros, headline, layers, sensitivity, several, words
from pipeline.report.document import Report, Speedup
from pipeline.report.model import Interval
from pipeline.report.quality import Judged, qualities
from pipeline.report.words import kilobytes, number

_VERDICT = {"pass": "green", "fail": "red", "error": "red", "incomplete": "yellow"}


def _grid(title: str, *columns: str) -> Table:
    table = Table(
        title=title,
        box=box.SIMPLE_HEAD,
        title_justify="left",
        title_style="bold",
        pad_edge=False,
        collapse_padding=True,
    )
    for position, column in enumerate(columns):
        table.add_column(column, justify="left" if position == 0 else "right", overflow="fold")
    return table


def _pair(value: str, below: str) -> Text:
    """Return a cell of two lines; two short lines keep the table within 80 columns."""
    return Text.assemble(value, "\n", (below, "dim"))


def _spread(interval: Interval | Speedup | None, form: str, unit: str, scale: float = 1) -> Text:
    if interval is None:
        return Text("-")
    value, low, high = (format(scale * edge, form) for edge in (interval.value, interval.low, interval.high))
    return _pair(value + unit, f"{low}..{high}")


def _judged_by(report: Report) -> str:
    """Return the head of a narrow column."""
    return words.judged_by(report).replace(" ", "\n") + "\n95 %"


def _right(of: Judged) -> Text:
    found = [_pair(one.text, f"{one.low}..{one.high}") for one in qualities(of)]
    return Text("\n").join(found) if found else Text("-")


def artifacts(report: Report) -> RenderableType:
    """Return the table of artifacts; an artifact that failed shows its error below the table."""
    table = _grid(
        "Artifacts",
        "artifact\nruntime",
        "gzip kB\nratio",
        _judged_by(report),
        "as\nKeras",
        "p50 ms\np99",
        "faster\n95 %",
    )
    for artifact in report.artifacts:
        said = words.marks(artifact, report)
        sizes = _pair(kilobytes(artifact.gzip_bytes), words.size_ratio(artifact, report))
        if not artifact.runs:
            failed = Text("failed", "red") if artifact.error else Text("not measured")
            table.add_row(_pair(artifact.id, ", ".join(said)), sizes, failed, "-", "-", "-")
        for run in artifact.runs:
            one = run.single_stream()
            latency = Text("-") if one is None else _pair(f"{one.p50_ms:.3f}", f"{one.p99_ms:.3f}")
            if one and not one.valid:
                latency.append("\nINVALID", "red")
            table.add_row(
                _pair(artifact.id, ", ".join([words.place(run), *said])), sizes,
                _right(run), f"{words.percent(run.parity.agreement().value)} %",
                latency,
                _spread(one.speedup if one else None, ".2f", "x"),
            )  # fmt: skip
    failures = [
        Text(f"{artifact.id}{' (optional)' if artifact.optional else ''}: {artifact.error}", "red")
        for artifact in report.artifacts
        if artifact.error
    ]
    why = [f"{one.artifact}, {cause}" for one in report.explained for cause in one.causes]
    notes = [Text(line, "dim") for line in (*words.serving(report), words.caption(report), *why) if line]
    return Group(table, *notes, *failures)


def bought(report: Report) -> RenderableType:
    """Return the table of what each stage bought, with a verdict for each and why it is not faster where it is not."""
    table = _grid(
        "What each stage bought",
        "stage",
        "para-\nmeters",
        "MACs",
        "zeros",
        "gzip kB",
        _judged_by(report),
        "p50 ms",
    )
    for model in report.models:
        one = words.bought_by(model, report)
        times = "\n".join(f"{_short(where)} {latency.p50_ms:.3f}" for where, latency, _ in words.timed(model, report))
        table.add_row(
            model.name,
            _pair(number(model.parameters), words.ratio(one.parameters_ratio) if one else ""),
            _pair(number(model.macs), words.ratio(one.macs_ratio) if one else ""),
            f"{words.percent(model.sparsity)} %",
            _pair(
                kilobytes(words.packed(model, report)), words.ratio(one.size_ratio) if one and one.size_ratio else ""
            ),
            _right(model),
            times or "-",
        )
    trained = [Text(line) for line in several.lines(report)]
    return Group(
        table, *trained, *_verdicts(report), *_channels(report), *_clusters(report), *_taught(report),
        *_left_out(report),
    )  # fmt: skip


def _short(where: str) -> str:
    """Return a place's name for a narrow column."""
    return where.removeprefix("served over ").removesuffix(" Runtime")


def _verdicts(report: Report) -> list[Text]:
    lines = []
    for one in report.bought:
        lines.append(Text.assemble((one.stage, "bold"), f": {one.verdict}"))
        lines += [Text(f"  {cause}", "dim") for cause in one.causes]
    return lines


def _channels(report: Report) -> list[Text]:
    """Return what shrink removed and left alone, and beside what prune's zeros bought."""
    lines = []
    for model in channels.shrunk(report):
        lines.append(Text.assemble((model.name, "bold"), f": {channels.counts(model)}"))
        lines += [Text(f"  left alone: {line}", "dim") for line in channels.lines(model)]
    both = channels_or_zeros.comparison(report)
    if both:
        lines.append(Text("Channels out against zeros in", "bold"))
        lines += [Text(f"  {line}") for line in both.lines]
    return lines


def _clusters(report: Report) -> list[Text]:
    """Return how many distinct weights cluster left in which layers."""
    return [
        Text.assemble((model.name, "bold"), f": distinct weights {line}")
        for model in report.models
        if model.stage == "cluster"
        for line in layers.clustered(model)
    ]


def _taught(report: Report) -> list[Text]:
    """Return what each stage gained by its teacher, and below it what was learned of that one."""
    lines, pairs = [], words.taught(report)
    for model, _ in pairs:
        if gain := words.taught_gain(model):
            said = words.gained(gain.found, gain.metric)
            lines.append(Text.assemble((model.stage, "bold"), f": {said}") if len(pairs) > 1 else Text(said))
            lines += [Text(f"  learned: {line}", "dim") for line in model.taught]
    return lines


def _left_out(report: Report) -> list[Text]:
    return [
        Text(f"Left out: {model.name} {layer.name}: {layer.reason}", "dim") for model, layer in layers.left_out(report)
    ]


def sensitive(table: Sensitivity) -> RenderableType:
    """Return the table of what each layer loses by itself."""
    heads = [f"{technique}\n{amount.replace(' ', chr(10))}" for technique, amount in sensitivity.columns(table)]
    grid = _grid("What each layer loses by itself", "layer", *heads)
    for row in sensitivity.rows(table):
        cells = [Text("-") if one is None else Text(one.text, "bold" if one.sure else "") for one in row.cells]
        grid.add_row(row.name, *cells)
    notes = (sensitivity.sentence(table), "Bold: the whole 95 % interval is a loss.", *sensitivity.untouched(table))
    return Group(grid, *(Text(line, "dim") for line in notes))


def stages(report: Report) -> RenderableType:
    """Return the table of stages."""
    table = _grid("Stages", "stage", "status", "seconds", "metrics")
    for stage in report.stages:
        seconds = "-" if stage.seconds is None else f"{stage.seconds:.1f}"
        table.add_row(stage.name, stage.status, seconds, ", ".join(words.told(stage.metrics)))
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
    if report.sensitivity:
        console.print(sensitive(report.sensitivity))
    if report.models:
        console.print(bought(report))
    if report.artifacts:
        console.print(artifacts(report))
    for line in beside.lines(report):
        console.print(Text(line))
    if report.gates:
        console.print(gates(report))
    if report.failure:
        console.print(Text(report.failure.message, "red"))
    if report.verdict == "incomplete":
        console.print(Text(headline.sentence(report), "dim"))
    console.print(f"verdict: [bold {_VERDICT[report.verdict]}]{escape(report.verdict)}[/]")
