"""Which operations of a model are timed, and at which widths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.measuring.layer_operations import Operation, operations

if TYPE_CHECKING:
    from pipeline.compress.channel_counts import Size
    from pipeline.compress.channel_graph import ChannelGraph, LayerChannels

# so many widths of a side are all timed: kernels of 16 channels and more at once make 24 slower than 32
_ALL = 8
# of more widths so many, the least and the full one among them
_SOME = 5
# runtimes whose time grows evenly, and where a program takes long to make
_EVEN = {"tensorflow": 3}


@dataclass(frozen=True)
class Planned:
    """An operation to time, at each of `inputs` x `outputs`; see `Entry`."""

    operation: Operation
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @property
    def points(self) -> list[tuple[int, int]]:
        """The widths in the order of the grid's rows."""
        if not self.inputs:
            return [(width, width) for width in self.outputs]
        return [(inputs, outputs) for inputs in self.inputs for outputs in self.outputs]


def plan(
    model: Any, graph: ChannelGraph, allowed: Mapping[str, Sequence[int]], runtime: str
) -> tuple[dict[Planned, list[str]], dict[str, str]]:
    """Return what is to be timed -> layers that do it, and layer -> why it cannot be timed alone.

    Args:
        allowed: the groups that may lose channels -> widths that they may have, rising.
    """
    found, untimed = operations(model)
    most = _EVEN.get(runtime)
    entries: dict[Planned, list[str]] = {}
    for layer in graph.layers:
        if layer.name not in found:
            continue
        if layer.inputs is None or layer.outputs is None:
            untimed[layer.name] = "its channels are not followed"
            continue
        if layer.kind == "Dense" and _has_rows_of_channels(layer):
            untimed[layer.name] = "channels are among its rows"
            continue
        for operation, (inputs, outputs) in zip(found[layer.name], _ends(layer, found[layer.name]), strict=True):
            one = operation.kind == "depthwise"
            grids = () if one else _grid(inputs, graph, allowed, most), _grid(outputs, graph, allowed, most)
            entries.setdefault(Planned(operation, *grids), []).append(layer.name)
    return entries, untimed


def _has_rows_of_channels(layer: LayerChannels) -> bool:
    """Return whether a dense layer has channels in other axes than its kernel reads, as behind a Permute."""
    kernel = next(one for one in layer.weights if one.name == "kernel")
    return any(len(sizes) > sum(axis is not None for axis in kernel.axes) for _, sizes in layer.products)


def _ends(layer: LayerChannels, operations: Sequence[Operation]) -> list[tuple[Size, Size]]:
    """Return the widths before and after each of a layer's operations: all but the last are depthwise."""
    assert layer.inputs is not None
    assert layer.outputs is not None
    return [(layer.inputs, layer.inputs)] * (len(operations) - 1) + [(layer.inputs, layer.outputs)]


def _grid(
    size: Size, graph: ChannelGraph, allowed: Mapping[str, Sequence[int]], most: int | None
) -> tuple[int, ...]:  # fmt: skip
    """Return the widths of a side, from where all groups in it are at their least to where they are whole.

    Args:
        most: of them; None: as many as tell where the kernels have steps.
    """
    steps = max((len(allowed[group]) for group, _ in size.channels if group in allowed), default=1)
    points = min(steps, most or (_ALL if steps <= _ALL else _SOME))
    found = set()
    for place in range(points):
        share = place / (points - 1) if points > 1 else 1.0
        found.add(size.at(graph.full | {name: some[round(share * (len(some) - 1))] for name, some in allowed.items()}))
    return tuple(sorted(found))
