"""The table by which shrink chose widths, in words and rows."""

from __future__ import annotations

from pipeline.measuring.layer_times import Entry, LayerTimes
from pipeline.report.words import number

MOST_ROWS = 40
_MOST_NAMES = 4


def sentence(table: LayerTimes) -> str:
    """Return where the times were measured, and how much of the model's own time they explain."""
    points = sum(len(row) for entry in table.entries for row in entry.ms)
    threads = "1 thread" if table.threads == 1 else f"{table.threads} threads"
    return (
        f"{number(len(table.entries))} operations were timed at {number(points)} widths in {table.runtime} "
        f"{table.precision} with {threads}. The model took {table.whole_ms:.3g} ms for one sample, its layers one by "
        f"one {table.sum_ms:.3g} ms."
    )


def slowest(table: LayerTimes) -> list[Entry]:
    """Return the operations that take most of the model's time, those first that take most of it."""
    return sorted(table.entries, key=lambda entry: -entry.ms[-1][-1] * len(entry.layers))[:MOST_ROWS]


def layers(entry: Entry) -> str:
    """Return the names of the layers that do it, the last ones as their number."""
    more = len(entry.layers) - _MOST_NAMES
    return ", ".join(entry.layers[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def widths(entry: Entry, place: int) -> str:
    """Return the numbers of channels at a place of the grid: 0 is the least, -1 is full."""
    return f"{entry.inputs[place]} → {entry.outputs[place]}" if entry.inputs else f"{entry.outputs[place]}"
