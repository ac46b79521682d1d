"""A matrix on a terminal."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from pipeline.report import matrix_words as words
from pipeline.report.matrix import Matrix

_UNBOUNDED = 100_000


def show(found: Matrix, console: Console) -> None:
    """Print what each file is worth, why some are not there, and what doctor had not foreseen."""
    console.print(Text(words.title(found), "bold"))
    header, lines = words.overview(found)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for place, name in enumerate(header):
        table.add_column(name, justify="right" if place else "left", overflow="fold")
    for line in lines:
        table.add_row(*(Text(text, _style(text)) for text in line))
    if not console.is_terminal:  # nobody looks: as wide as it is
        console.width = max(
            console.width, Measurement.get(console, console.options.update(max_width=_UNBOUNDED), table).maximum
        )
    console.print(table)
    for sentence in words.legend(found):
        console.print(Text(sentence, "dim"))
    for place, (text, who) in enumerate(words.reasons(found).items(), 1):
        console.print(Text(f"({place}) {text}: {', '.join(who)}"))
    console.print(Text(words.said_before(found), "bold"))
    for text in found.unforeseen():
        console.print(Text(f"  {text}", "yellow"))


def _style(text: str) -> str:
    return "red" if text.startswith("no (") else "yellow" if text.endswith("!") else ""
