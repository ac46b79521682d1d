"""How long a model takes in a runtime at any widths of its layers, by a table of what each layer takes at some.

After HALP (Shen et al., 2021) and NetAdapt (Yang et al., 2018): each kind of layer is timed once, at a grid of numbers
of channels that come in and go out, and a model's time is the sum. What the sum lacks at full widths of the model's own
measured time (calls, poolings, what could not be timed alone) is a constant.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from pipeline.config import Frozen
from pipeline.files import write_json

if TYPE_CHECKING:
    from pipeline.compress.channel_counts import Size, Widths
    from pipeline.compress.channel_graph import ChannelGraph
    from pipeline.compress.widths import Allowed

FILE = "layer_times.json"
# a table whose layers take no more than this share of their time at their narrowest is as tables are
_GAINS = 0.5


class Entry(Frozen):
    """What one operation takes.

    Attributes:
        operation: what it is, in words.
        layers: those that do it.
        inputs: rising numbers of channels that come in; empty where as many come in as go out (depthwise).
        outputs: rising numbers of channels that go out.
        ms: milliseconds for one sample, [inputs, outputs]; one row where there are no inputs.
    """

    operation: str
    layers: list[str]
    inputs: list[int]
    outputs: list[int]
    ms: list[list[float]]

    def at(self, inputs: int, outputs: int) -> float:
        """Return the milliseconds at any widths, bilinear between those of the grid, as at its border beyond it."""
        low, high, share = _between(self.outputs, outputs)
        rows = [(1 - share) * row[low] + share * row[high] for row in self.ms]
        if not self.inputs:
            return rows[0]
        low, high, share = _between(self.inputs, inputs)
        return (1 - share) * rows[low] + share * rows[high]


class LayerTimes(Frozen):
    """The table of a model in a runtime.

    Attributes:
        whole_ms: milliseconds that the whole model takes for one sample, as measured.
        sum_ms: of its layers at full widths, by the table.
        untimed: layer -> why it is not in the table; its time is a constant.
    """

    runtime: Literal["litert", "onnxruntime", "tensorflow"]
    precision: Literal["float32", "int8"]
    threads: int
    whole_ms: float = Field(gt=0)
    sum_ms: float
    entries: list[Entry]
    untimed: dict[str, str] = Field(default_factory=dict)


def cost(graph: ChannelGraph, table: LayerTimes) -> Callable[[Widths], float]:
    """Return what gives the milliseconds of the whole model where groups keep so many channels.

    Args:
        graph: of the model that was timed, or of the same with fewer channels.
        table: its times.

    A group that is not named keeps all. At the widths that were timed it is `table.whole_ms`. Where the layers alone
    took longer than the whole model, which runtimes with a cache that suits them do, all are in proportion to it.
    """
    of_layer: dict[str, list[Entry]] = {}
    for entry in table.entries:
        for name in entry.layers:
            of_layer.setdefault(name, []).append(entry)
    terms: list[tuple[Entry, Size, Size]] = []
    for layer in graph.layers:
        for entry in of_layer.get(layer.name, ()):
            if layer.inputs is not None and layer.outputs is not None:
                # a separable layer's depthwise part is as wide as what it reads
                narrow = not entry.inputs and len(of_layer[layer.name]) > 1
                terms.append((entry, layer.inputs, layer.inputs if narrow else layer.outputs))
    scale = min(1.0, table.whole_ms / table.sum_ms) if table.sum_ms > 0 else 1.0
    rest = table.whole_ms - scale * table.sum_ms
    known: dict[tuple[int, int, int], float] = {}

    def milliseconds(widths: Widths) -> float:
        every, total = graph.full | dict(widths), 0.0
        for place, (entry, inputs, outputs) in enumerate(terms):
            key = place, inputs.at(every), outputs.at(every)
            if key not in known:
                known[key] = entry.at(*key[1:])
            total += known[key]
        return rest + scale * total

    return milliseconds


def undominated(graph: ChannelGraph, table: LayerTimes, allowed: Allowed) -> dict[str, tuple[int, ...]]:
    """Return the widths of each group at which the model is faster than at any wider one, by the table.

    So a search may presume that less time is left the narrower a group is, while all others are whole.

    Args:
        graph: of the model that was timed.
        table: its times.
        allowed: group -> widths that it may have, rising, its own last; that one stays.
    """
    milliseconds, found = cost(graph, table), {}
    for group, widths in allowed.items():
        kept, least = list[int](), math.inf
        for width in reversed(widths):
            if (now := milliseconds({group: width})) < least:
                kept, least = [width, *kept], now
        found[group] = tuple(kept)
    return found


def hint(table: LayerTimes) -> str:
    """Return why a share of the time may be out of reach, for people: how little narrow layers gain.

    Empty where they gain as much as is to be expected of them.
    """
    narrow = sum(entry.ms[0][0] * len(entry.layers) for entry in table.entries)
    if table.entries and narrow <= _GAINS * table.sum_ms:
        return ""
    where = f"{table.runtime} {table.precision} on this CPU"
    if table.sum_ms == 0:
        return f"no layer of this model can be timed alone in {where}"
    return (
        f"in {where} the layers take {narrow / table.sum_ms:.0%} of their time at the narrowest widths that were "
        "measured: their times hardly change with their width (the report's layer times)"
    )


def total(entries: Sequence[Entry]) -> float:
    """Return the milliseconds of all layers at their full widths."""
    return sum(entry.ms[-1][-1] * len(entry.layers) for entry in entries)


def write(table: LayerTimes, folder: Path) -> None:
    """Write the table into a stage's folder."""
    write_json(folder / FILE, table.model_dump(mode="json"))


def read(folder: Path) -> LayerTimes | None:
    """Return the table of a stage's folder; None where it has none."""
    path = folder / FILE
    return LayerTimes.model_validate_json(path.read_text(encoding="utf-8")) if path.exists() else None


def _between(grid: Sequence[int], width: int) -> tuple[int, int, float]:
    """Return the places of the grid's widths around one, and where it lies between them, in [0, 1]."""
    high = min(max(bisect.bisect_left(grid, width), 0), len(grid) - 1)
    low = max(high - 1, 0) if width < grid[high] else high
    if low == high:
        return low, high, 0.0
    return low, high, (width - grid[low]) / (grid[high] - grid[low])
