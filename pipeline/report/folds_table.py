"""What the folds of a cross-validation say together, on a terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.report import folds
from pipeline.report.folds import Folds, Spread

# values of single folds that a line shows; cv.json has all
MOST = 10


def show(found: Folds, console: Console) -> None:
    """Print the tables and what a reader has to know of them."""
    console.print(Text(found.title(), "bold"))
    for name in found.matter():
        noun = folds.noun(name)
        values = {stage.name: stage.metrics[name] for stage in found.stages if name in stage.metrics}
        console.print(_spreads(noun, name, values))
        changes = {stage.name: stage.differences[name] for stage in found.stages if name in stage.differences}
        if changes:
            title = f"{noun} less that of {found.against}, on the same samples"
            console.print(_spreads(title, name, changes, change=True))
    if found.others():
        console.print(_others(found))
    for line in found.remarks():
        console.print(Text(line, "dim"))


def _grid(title: str, *columns: str) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False)
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if place else "left", overflow="fold")
    return table


def _spreads(title: str, name: str, rows: Mapping[str, Spread], *, change: bool = False) -> Table:
    """Return a table of a metric, or of its changes, with a row for each stage."""
    table = _grid(title, "stage", "mean", "devi-\nation", "range", "95 %\ncorrected", "each fold")
    for stage, one in rows.items():
        table.add_row(stage, *folds.cells(name, one, change=change, most=MOST))
    return table


def _others(found: Folds) -> Table:
    table = _grid("other metrics: mean and standard deviation", "metric", *(stage.name for stage in found.stages))
    for name in found.others():
        cells = [folds.mean(name, stage.metrics[name]) if name in stage.metrics else "-" for stage in found.stages]
        table.add_row(folds.noun(name), *cells)
    return table
