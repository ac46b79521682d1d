"""A forecast on the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from pipeline.report.forecast import Fate, File, Forecast, Foreseen, Line
from pipeline.report.words import kilobytes

# stages that make a model and leave its layers to themselves
_FITTING = ("import", "train", "distill")
_UNBOUNDED = 100_000
_STYLE = {"yes": "green", "nothing": "dim", "refused": "red"}


def show(forecast: Forecast, console: Console) -> None:
    """Print what becomes of each layer and file, what will get no faster, and what cannot work."""
    for line in forecast.lines:
        if line.of:
            console.print(f"[bold]if {escape(line.of)} goes on[/]")
        _layers(line, console)
        _stages(line.stages, console)
        if line.files:
            _files(line.files, console)
        _listed("what will get no faster", line.no_faster, console)
    problems = [
        one.message if one.message.startswith(one.stage) else f"{one.stage}: {one.message}" for one in forecast.problems
    ]
    problems += [f"{name}: {reason}" for name, reason in forecast.refused().items()]
    doubts = [one.message for one in forecast.doubts]
    _listed("what may not work", doubts, console, style="bold yellow")
    _listed("what cannot work", problems, console, style="bold red")
    if not problems:
        but = ", but for what is said above" if doubts else ""
        console.print(f"[green]all that is asked for can work{but}[/]")


def _layers(line: Line, console: Console) -> None:
    """Print a row for each layer that some stage gets, and a column for each stage that makes the model smaller."""
    refused = {one.stage for one in line.stages if {layer.how for layer in one.layers} == {"refused"}}
    # what a stage says that cannot work at all stands once below, and not at each layer
    able = [one for one in line.stages if one.stage not in refused]
    stages = [one for one in able if one.stage not in _FITTING] or able[-1:]
    fates = {one.stage: {layer.name: layer for layer in one.layers} for one in stages}
    # what was fitted last has the layers as they come; a stage may split some
    came = [one for one in line.stages if one.stage in _FITTING][-1:]
    layers: dict[str, tuple[Fate, bool]] = {}
    for one in [*came, *stages]:
        layers |= {layer.name: layers.get(layer.name, (layer, one.about)) for layer in one.layers}
    if not layers:
        console.print("a graph without layers: it is exported and measured as it is\n")
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("layer", style="bold", overflow="fold")
    table.add_column("kind", overflow="fold")
    for column in ("parameters", "MACs"):
        table.add_column(column, justify="right")
    for one in stages:
        table.add_column(one.stage)
    reasons: dict[str, list[str]] = {}
    for name, (layer, about) in layers.items():
        cells = []
        for one in stages:
            fate = fates[one.stage].get(name)
            cells.append("" if fate is None else _cell(fate))
            if fate is not None and fate.reason:
                reasons.setdefault(f"{one.stage} ({fate.how}): {fate.reason}", []).append(name)
            if fate is not None and fate.decided_by:
                reasons.setdefault(f"{one.stage} ({_said(fate)}): {_later(one.stage, fate)}", []).append(name)
        guess = "about " if about and layer.parameters else ""
        macs = "?" if layer.macs is None else f"{guess}{layer.macs:,}"
        table.add_row(escape(name), escape(layer.kind), f"{guess}{layer.parameters:,}", macs, *cells)
    _print(table, console)
    if refused:
        console.print(f"not in the table, since what they ask for cannot work: {', '.join(sorted(refused))}\n")
    _listed("why", [f"{reason}: {', '.join(names)}" for reason, names in reasons.items()], console)


def _cell(fate: Fate) -> str:
    style = "yellow" if fate.decided_by else _STYLE.get(fate.how, "yellow")
    return f"[{style}]{escape(_said(fate))}[/]"


def _said(fate: Fate) -> str:
    """Return what becomes of a layer; with a question mark where that is decided later."""
    text = {"yes": fate.made or "yes", "nothing": "-"}.get(fate.how, fate.how)
    return f"{text}?" if fate.decided_by else text


def _later(stage: str, fate: Fate) -> str:
    measured = f"sensitivity, which may leave layers out ({stage}.exclude: auto)"
    chosen = (
        "trained weights, by which shrink chooses how many channels stay, of some layers all"
        if stage == "shrink"
        else "shrink, by how many channels it leaves"
    )
    return "decided by " + " and by ".join({"sensitivity": measured, "shrink": chosen}[by] for by in fate.decided_by)


def _print(table: Table, console: Console) -> None:
    """Print a table; where nobody looks at a terminal, as wide as it is: names that are cut tell nothing."""
    if console.is_terminal:
        console.print(table)
        return
    wide = Measurement.get(console, console.options.update(max_width=_UNBOUNDED), table).maximum
    before, console.width = console.width, max(wide, console.width)
    console.print(table)
    console.width = before


def _stages(stages: Sequence[Foreseen], console: Console) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("behind", style="bold")
    for column in ("parameters", "MACs", "activations float32", "int8"):
        table.add_column(column, justify="right")
    for one in stages:
        about = "about " if one.about else ""
        macs = "?" if one.macs is None else f"{about}{one.macs:,}" + ("+" if one.unknown_macs else "")
        memory = [
            "?" if count is None else f"{about}{kilobytes(count)} kB"
            for count in (one.activation_bytes, one.activation_bytes_int8)
        ]
        table.add_row(one.stage, f"{about}{one.parameters:,}", macs, *memory)
    _print(table, console)
    console.print("[dim]activations: the most that tensors between layers take at once, for one sample[/]\n")


def _files(files: Sequence[File], console: Console) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("file", style="bold")
    for column in ("about kB", "gzipped"):
        table.add_column(column, justify="right")
    table.add_column("")
    for one in files:
        said = []
        if one.refused:
            said.append("[yellow]cannot be made[/]" if one.optional else "[red]cannot be made[/]")
        if one.batch is not None:
            said.append(f"{one.batch} sample{'' if one.batch == 1 else 's'} at a time")
        if one.floating:
            said.append(f"float: {escape(', '.join(one.floating))}")
        table.add_row(one.id, *(kilobytes(count) if count else "-" for count in (one.bytes, one.gzip_bytes)),
                      "; ".join(said))  # fmt: skip
    _print(table, console)
    console.print()


def _listed(title: str, texts: Iterable[str], console: Console, style: str = "bold") -> None:
    listed = list(texts)
    if listed:
        console.print(f"[{style}]{title}[/]")
        for text in listed:
            console.print(escape(textwrap.indent(text, "  ")), soft_wrap=True)
        console.print()
