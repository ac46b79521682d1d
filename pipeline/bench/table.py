"""The result on a terminal, or in a pipe: in 80 columns no number is broken."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.bench import words
from pipeline.bench.document import Bench, Result, Target

_GAP = 2  # between columns


@dataclass(frozen=True)
class _Column:
    title: str
    numeric: bool
    cells: tuple[str, ...]

    @property
    def width(self) -> int:
        return max(len(text) for text in (self.title, *self.cells))


def show(found: Bench, console: Console) -> None:
    """Print the targets with their numbers, a table for each scenario, and what a reader has to know of them.

    A scenario with more columns than the console is wide goes on below itself, each part with the targets' numbers.
    """
    titles = found.titles()
    if titles:
        console.print(_legend(found))
    for title in titles:
        rows = found.of(title)
        console.print()
        console.print(Text(words.caption(title, rows, found.against), "bold"))
        for part in _parts(_columns(found, rows), console.width):
            console.print(_table(part))
    if titles:
        console.print()
    for line in words.remarks(found):
        console.print(Text(line, "dim"))


def _legend(found: Bench) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, _GAP, 0, 0))
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for number, target in enumerate(found.targets, 1):
        table.add_row(str(number), Text(f"{target.name}, {target.place}"))
    return table


def _columns(found: Bench, rows: Sequence[tuple[Target, Result]]) -> list[_Column]:
    numbers = _Column("#", True, tuple(str(found.targets.index(target) + 1) for target, _ in rows))
    return [numbers] + [
        _Column(one.title, one.numeric, tuple(one.cell(target, result) for target, result in rows))
        for one in words.columns(rows, found.against)
    ]


def _parts(columns: Sequence[_Column], width: int) -> Iterator[list[_Column]]:
    """Yield the columns in groups that are at most so wide, each with the first one in front."""
    first, part = columns[0], [columns[0]]
    for one in columns[1:]:
        if len(part) > 1 and sum(column.width + _GAP for column in [*part, one]) - _GAP > width:
            yield part
            part = [first]
        part.append(one)
    yield part


def _table(columns: Sequence[_Column]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, _GAP - 1, 0, 0))
    for column in columns:
        # wider than the console it reaches out of it: a number is never broken
        table.add_column(
            column.title, justify="right" if column.numeric else "left", no_wrap=True, min_width=column.width
        )
    for cells in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*(Text(cell, "bold red" if cell.endswith(words.INVALID) else "") for cell in cells))
    return table
