"""What the folds of a cross-validation say together, on a terminal."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.report import folds, words
from pipeline.report.folds import Folds

# values of single folds that a line shows; cv.json has all
MOST = 10


def show(found: Folds, console: Console) -> None:
    """Print the tables and what a reader has to know of them."""
    console.print(Text(found.title(), "bold"))
    for name in found.judged_by:
        console.print(_values(found, name))
        if len(found.stages) > 1:
            console.print(_differences(found, name))
    if found.others():
        console.print(_others(found))
    for line in found.remarks():
        console.print(Text(line, "dim"))


def _grid(title: str, *columns: str) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False)
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if place else "left", overflow="fold")
    return table


def _values(found: Folds, name: str) -> Table:
    table = _grid(name.replace("_", " "), "stage", "mean", "devi-\nation", "range", "95 %\ncorrected", "each fold")
    for stage in found.stages:
        if name in stage.metrics:
            one = stage.metrics[name]
            table.add_row(
                stage.name, words.metric(name, one.mean), folds.deviation(name, one),
                folds.span(name, one.low, one.high), folds.interval(name, one), folds.each(name, one, MOST),
            )  # fmt: skip
    return table


def _differences(found: Folds, name: str) -> Table:
    table = _grid(
        f"{name.replace('_', ' ')} against {found.against}, on the same samples",
        "stage", "mean", "devi-\nation", "range", "95 %\ncorrected", "each fold",
    )  # fmt: skip
    for stage in found.stages:
        if name in stage.differences:
            one = stage.differences[name]
            table.add_row(
                stage.name, folds.change(name, one), folds.deviation(name, one),
                folds.span(name, one.low, one.high), folds.interval(name, one), folds.each(name, one, MOST),
            )  # fmt: skip
    return table


def _others(found: Folds) -> Table:
    table = _grid("other metrics: mean and standard deviation", "metric", *(stage.name for stage in found.stages))
    for name in found.others():
        cells = [folds.mean(name, stage.metrics[name]) if name in stage.metrics else "-" for stage in found.stages]
        table.add_row(name.replace("_", " "), *cells)
    return table
