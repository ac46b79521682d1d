"""The tables of a report for a terminal: stages, what each bought, artifacts, gates and the verdict."""

from __future__ import annotations

from rich import box
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from pipeline.compress.sensitivity_table import Sensitivity
from pipeline.report import (
    beside,
    channels,
    channels_or_zeros,
    headline,
    layers,
    on_device,
    sensitivity,
    several,
    to_serve,
    variants,
    words,
)
from pipeline.report.document import Report, ServedSpeed, Speedup
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
    cell = _pair(value + unit, f"{low}..{high}")
    if isinstance(interval, Speedup) and not interval.valid:  # this one's blocks, or the reference's
        cell.append("\nINVALID", "red")
    return cell


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
        for run in (*artifact.runs, *artifact.at_other_threads):
            one = run.single_stream()
            other = [words.threads(run)] if run in artifact.at_other_threads else []
            latency = Text("-") if one is None else _pair(f"{one.p50_ms:.3f}", f"{one.p99_ms:.3f}")
            if one and not one.valid:
                latency.append("\nINVALID", "red")
            table.add_row(
                _pair(artifact.id, ", ".join([words.place(run), *other, *said])), sizes,
                _right(run), f"{words.percent(run.parity.agreement().value)} %" if run.parity else "-",
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


def fastest(report: Report) -> RenderableType:
    """Return what to serve, a table for each protocol with what is fastest there, and why below them."""
    found = report.fastest
    assert found is not None
    advised = to_serve.advice(report)
    parts: list[RenderableType] = [Text(f"{advised.text}.\n", "bold")] if advised else []
    for protocol in words.PROTOCOLS:
        if rows := [row for row in found.rows if row.protocol == protocol]:
            parts.append(_served(protocol, rows))
            parts += [Text(_sentence(found.results[protocol]))] if protocol in found.results else []
    parts += [Text(_sentence(line)) for line in found.said]
    return Group(*parts, *(Text(line, "dim") for line in words.served_causes(found)))


def _sentence(line: str) -> str:
    return f"{line[0].upper()}{line[1:]}"


def _served(protocol: str, rows: list[ServedSpeed]) -> Table:
    batch = next((row.batch for row in rows if row.batch), None)
    title = f"Fastest when served over {words.PROTOCOLS[protocol]}"
    table = _grid(
        title, "artifact", "p50 ms\n95 %", "p99 ms", f"samples/s\nin {batch}s", "against the\nreference, 95 %"
    )
    for row in rows:
        p50 = _pair(f"{row.p50_ms:.3f}", f"{row.p50_low:.3f}..{row.p50_high:.3f}")
        if not row.valid:
            p50.append("\nINVALID", "red")
        table.add_row(
            row.artifact, p50, f"{row.p99_ms:.3f}",
            "-" if row.throughput_per_s is None else f"{row.throughput_per_s:,.0f}", _spread(row.speedup, ".2f", "x"),
        )  # fmt: skip
    return table


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
        times = "\n".join(
            f"{_short(where)} {latency.p50_ms:.3f}{words.imitation(model, where)}"
            for where, latency, _ in words.timed(model, report)
        )
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
        table, *trained, *_verdicts(report), *_channels(report), *_clusters(report), *_variants(report),
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


def _variants(report: Report) -> list[Text]:
    """Return what each stage gained or lost against a variant, and below it what was learned of a teacher."""
    lines, pairs = [], variants.pairs(report)
    for pair in pairs:
        if pair.said:
            stage = pair.model.stage
            lines.append(Text.assemble((stage, "bold"), f": {pair.said}") if len(pairs) > 1 else Text(pair.said))
            lines += [Text(f"  learned: {line}", "dim") for line in pair.learned]
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


def edge(report: Report) -> RenderableType:
    """Return what the final file takes of a small device."""
    found = report.edge
    assert found is not None
    parts: list[RenderableType] = [Text(f"On the device: {on_device.sentence(found)}", "bold")]
    parts += [Text(line) for line in on_device.lines(report)]
    if found.npus:
        table = _grid(
            "Compiled for Arm Ethos-U (Vela's estimates)", "configuration", "operators\non the NPU", "file\nkB",
            "SRAM\nkB", "cycles", "ms",
        )  # fmt: skip
        for npu in found.npus:
            name = _pair(npu.accelerator, f"{npu.system_config}\n{npu.memory_mode}")
            if npu.error:
                table.add_row(name, Text("failed", "red"), "-", "-", "-", "-")
                continue
            table.add_row(
                name, on_device.placed(npu), kilobytes(npu.file_bytes), kilobytes(npu.sram_bytes), number(npu.cycles),
                words.milliseconds(npu.time_ms),
            )  # fmt: skip
        parts.append(table)
    for npu in found.npus:
        left = [f"{one.kind} stays on the CPU beside {npu.name}: {on_device.reason(one)}" for one in npu.on_cpu]
        parts += [Text(line, "dim") for line in dict.fromkeys([*left, on_device.ends(npu)]) if line]
        parts += [Text(f"{npu.name}: {npu.error}", "red")] if npu.error else []
    return Group(*parts)


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
        mark = Text(gate.word, "green" if gate.passed else "red")
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
    if report.edge:
        console.print(edge(report))
    if report.fastest:
        console.print(fastest(report))
    for line in beside.lines(report):
        console.print(Text(line))
    if report.gates:
        console.print(gates(report))
    if report.failure:
        console.print(Text(report.failure.message, "red"))
    if report.verdict == "incomplete":
        console.print(Text(headline.sentence(report), "dim"))
    console.print(f"verdict: [bold {_VERDICT[report.verdict]}]{escape(report.verdict)}[/]")
