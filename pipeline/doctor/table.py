"""A forecast on the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.report.forecast import Fate, File, Forecast, Foreseen, Line
from pipeline.report.words import kilobytes

# stages that make a model and leave its layers to themselves
_FITTING = ("import", "train", "distill")
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
    _listed("what cannot work", problems, console, style="bold red")
    if not problems:
        console.print("[green]all that is asked for can work[/]")


def _layers(line: Line, console: Console) -> None:
    """Print a row for each layer that some stage gets, and a column for each stage that makes the model smaller."""
    stages = [one for one in line.stages if one.stage not in _FITTING] or line.stages[-1:]
    fates = {one.stage: {layer.name: layer for layer in one.layers} for one in stages}
    # the first has the layers as they come; a stage may split some
    layers: dict[str, Fate] = {}
    for one in stages:
        layers |= {layer.name: layers.get(layer.name, layer) for layer in one.layers}
    if not layers:
        console.print("a graph without layers: it is exported and measured as it is\n")
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("layer", style="bold")
    table.add_column("kind")
    for column in ("parameters", "MACs"):
        table.add_column(column, justify="right")
    for one in stages:
        table.add_column(one.stage)
    reasons: dict[str, list[str]] = {}
    for name, layer in layers.items():
        cells = []
        for one in stages:
            fate = fates[one.stage].get(name)
            cells.append("" if fate is None else _cell(fate))
            if fate is not None and fate.reason:
                reasons.setdefault(f"{one.stage} ({fate.how}): {fate.reason}", []).append(name)
        macs = "?" if layer.macs is None else f"{layer.macs:,}"
        table.add_row(escape(name), escape(layer.kind), f"{layer.parameters:,}", macs, *cells)
    console.print(table)
    _listed("why", [f"{reason}: {', '.join(names)}" for reason, names in reasons.items()], console)


def _cell(fate: Fate) -> str:
    text = {"yes": fate.made or "yes", "nothing": "-"}.get(fate.how, fate.how)
    style = _STYLE.get(fate.how, "yellow")
    return f"[{style}]{escape(text)}[/]"


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
    console.print(table)
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
            said.append(f"{one.batch} sample at a time")
        if one.floating:
            said.append(f"float: {escape(', '.join(one.floating))}")
        table.add_row(one.id, *(kilobytes(count) if count else "-" for count in (one.bytes, one.gzip_bytes)),
                      "; ".join(said))  # fmt: skip
    console.print(table)
    console.print()


def _listed(title: str, texts: Iterable[str], console: Console, style: str = "bold") -> None:
    listed = list(texts)
    if listed:
        console.print(f"[{style}]{title}[/]")
        for text in listed:
            console.print(escape(textwrap.indent(text, "  ")), soft_wrap=True)
        console.print()
