"""A walk through a model in the order of its computation: what each layer says of the channels that reach it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np

from pipeline.compress.channel_ids import Axes, Axis, ChannelIds
from pipeline.compress.channel_rules import layout
from pipeline.compress.channel_rules.call import Call, Layout, Sizes, channel


@dataclass
class Walked:
    """What all calls of a layer say together.

    Attributes:
        read: the channels that its first call reads.
    """

    layout: Layout
    read: Axis

    @property
    def sizes(self) -> Sizes:
        """The entries of its config that count channels."""
        return self.layout.sizes

    @property
    def given(self) -> Axis:
        """The channels that its first output has."""
        axes = self.layout.outputs[0] if self.layout.outputs else ()
        return next((axis for axis in reversed(axes) if axis is not None), None)


def walk(model: Any) -> tuple[ChannelIds, dict[str, Walked]]:
    """Return the channels of a functional model, and its layers by name in the order of its computation."""
    ids = ChannelIds()
    axes: dict[int, Axes] = {id(end): (None,) * (len(end.shape) - 1) for end in model.inputs}
    found: dict[str, Walked] = {}
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            if type(node.layer).__name__ == "InputLayer":
                continue
            given, made = list(node.keras_inputs), _listed(node.outputs)
            call = Call(
                node.layer, tuple(axes[id(end)] for end in given), tuple(_shape(end) for end in given),
                tuple(node.call_args), node.call_kwargs, axes,
                tuple(_shape(end) for end in made),
            )  # fmt: skip
            said = layout(call, ids)
            axes |= {id(end): some for end, some in zip(made, said.outputs, strict=True)}
            before = found.get(node.layer.name)
            if before is None:
                found[node.layer.name] = Walked(said, call.x[channel(call)] if call.x else None)
            else:
                _unite(before.layout, said, ids, f"{call.name} is called at several places that do not agree")
    for end in model.outputs:
        ids.keep(axes[id(end)], "they are what the model answers")
    return ids, found


def _listed(ends: Any) -> list[Any]:
    if isinstance(ends, dict):
        return [one for end in ends.values() for one in _listed(end)]
    return [one for end in ends for one in _listed(end)] if isinstance(ends, (list, tuple)) else [ends]


def _shape(end: Any) -> tuple[int | None, ...]:
    return tuple(end.shape[1:])


def _unite(one: Layout, other: Layout, ids: ChannelIds, reason: str) -> None:
    """Let a layer that is called several times have the same channels in all calls."""
    for (_, first), (_, second) in zip_longest(one.weights, other.weights, fillvalue=(None, ())):
        _pair(first, second, ids, reason)
    for path in {**one.sizes, **other.sizes}:
        _pair(_entries(one.sizes.get(path, ())), _entries(other.sizes.get(path, ())), ids, reason)


def _pair(one: Sequence[Any], other: Sequence[Any], ids: ChannelIds, reason: str) -> None:
    """Unite channels that stand at the same places; those that have none beside them stay."""
    for mine, theirs in zip_longest(one, other):
        a, b = (entry if isinstance(entry, np.ndarray) else None for entry in (mine, theirs))
        if a is not None or b is not None:
            ids.same(a, b, reason)


def _entries(size: Any) -> tuple[Any, ...]:
    return size if isinstance(size, tuple) else (size,)
