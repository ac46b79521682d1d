"""Which layers of a Keras model must lose the same channels: a dependency graph, after DepGraph (Fang et al., 2023).

Every channel is followed through the model, position by position, from the layer that makes it to all that read it.
Channels that always go together are one; those that stand in the same axes of the same weights are a group, of which
any may be removed. What cannot be followed, and what goes into and comes out of the model, stays whole with a reason.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

import numpy as np

from pipeline.compress.channel_counts import Count, Product, Size, Widths
from pipeline.compress.channel_ids import Axes, Axis, ChannelIds, Ids
from pipeline.compress.channel_rules import layout
from pipeline.compress.channel_rules.call import Call, Layout, Sizes
from pipeline.legacy_keras import load as load_keras
from pipeline.measuring.macs import macs as count_macs


@dataclass(frozen=True)
class Group:
    """Channels of which any may be removed, each of them everywhere at once.

    Attributes:
        name: of the first layer that makes them; `NAME.2` for a further group of its channels.
        layers: all that lose them as their outputs, in the model's order.
        readers: all whose kernels read them.
        ids: the channels, int64 [size].
        multiplicity: positions that one takes in the first layer's output.
        reason: why all of them stay; empty where they need not.
    """

    name: str
    layers: tuple[str, ...]
    readers: tuple[str, ...]
    ids: Ids
    multiplicity: int
    reason: str = ""

    @property
    def size(self) -> int:
        """The number of channels."""
        return len(self.ids)


@dataclass(frozen=True)
class WeightChannels:
    """A weight of a layer.

    Attributes:
        index: in `layer.weights`.
        axes: for each axis the channel of each position; None where it has none.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    axes: Axes


@dataclass(frozen=True)
class LayerChannels:
    """A layer with weights, or with a number of channels in its config.

    Attributes:
        macs: for one sample, of the whole layer; None where unknown.
        inputs, outputs: how wide what it reads and gives is, in channels; None where that is not followed.
        sizes: the entries of its config that count channels.
        products: what its MACs are in proportion to: the sum of each number times the lengths of some axes.
    """

    name: str
    kind: str
    macs: int | None
    weights: tuple[WeightChannels, ...]
    sizes: Sizes
    products: tuple[tuple[int, tuple[Size, ...]], ...]
    inputs: Size | None = None
    outputs: Size | None = None


@dataclass(frozen=True)
class ChannelGraph:
    """The channels of a model; see `follow`."""

    groups: tuple[Group, ...]
    layers: tuple[LayerChannels, ...]
    _sizes: Mapping[tuple[str, int, int], Size] = field(repr=False)

    @functools.cached_property
    def full(self) -> dict[str, int]:
        """All channels of each group."""
        return {group.name: group.size for group in self.groups}

    @property
    def removable(self) -> tuple[Group, ...]:
        """The groups of which channels can be removed."""
        return tuple(group for group in self.groups if not group.reason and group.size > 1)

    def parameters(self, widths: Widths) -> int:
        """Return the number of weights where groups keep so many channels."""
        return round(self._parameters(widths))

    def macs(self, widths: Widths) -> int:
        """Return the MACs for one sample where groups keep so many channels.

        Each layer's are `measuring/macs.py`'s, in proportion to its `products`.
        """
        return round(self._macs(widths))

    @functools.cached_property
    def _parameters(self) -> Count:
        return Count([self._product(layer, one, 1.0) for layer in self.layers for one in layer.weights], self.full)

    @functools.cached_property
    def _macs(self) -> Count:
        products = []
        for layer in self.layers:
            before = sum(number * math.prod(size.at(self.full) for size in sizes) for number, sizes in layer.products)
            if layer.macs and before:
                products += [Product(layer.macs * number / before, sizes) for number, sizes in layer.products]
        return Count(products, self.full)

    def _product(self, layer: LayerChannels, weight: WeightChannels, factor: float) -> Product:
        found = [(self._sizes.get((layer.name, weight.index, at)), length) for at, length in enumerate(weight.shape)]
        fixed = math.prod(length for size, length in found if size is None)
        return Product(factor * fixed, tuple(size for size, _ in found if size is not None))


def follow(model: Any) -> ChannelGraph:
    """Return the channels of a functional or sequential tf_keras model, which is left as it is."""
    keras = load_keras()
    functional = keras.Model(model.inputs, model.outputs, name=model.name)
    ids, layouts = _walk(functional)
    weights = {name: _weights(functional.get_layer(name), found, ids) for name, found in layouts.items()}
    outputs = {name: ids.roots(axis) for name, found in layouts.items() if (axis := _channels_of(found)) is not None}
    groups = _groups(weights, outputs, layouts, ids)
    group_of = {int(one): group for group in groups for one in group.ids}

    def size(axis: Ids) -> Size:
        return _size(axis, group_of)

    sizes = {
        (name, weight.index, place): size(axis)
        for name, some in weights.items()
        for weight in some
        for place, axis in enumerate(weight.axes)
        if axis is not None
    }
    counted = _counted(functional)
    shapes = {layer.name: layer for layer in functional.layers}
    listed = []
    for name, found in layouts.items():
        layer = shapes[name]
        if not layer.weights and not found.sizes:
            continue
        listed.append(
            LayerChannels(
                name, type(layer).__name__, counted.get(name), weights[name],
                {path: _rooted(entry, ids) for path, entry in found.sizes.items()},
                tuple(
                    (number, tuple(size(ids.roots(axis)) for axis in axes if axis is not None))
                    for number, axes in found.layout.products or _by_kernels(weights[name])
                ),
                _width(found.read, layer.input_shape, ids, group_of),
                _width(_channels_of(found), layer.output_shape, ids, group_of),
            )
        )  # fmt: skip
    return ChannelGraph(tuple(groups), tuple(listed), sizes)


def _by_kernels(weights: tuple[WeightChannels, ...]) -> list[tuple[int, Axes]]:
    """Return products of a layer that lays each of its kernels on as many places."""
    return [
        (math.prod(size for size, axis in zip(one.shape, one.axes, strict=True) if axis is None), one.axes)
        for one in weights
        if len(one.shape) > 1 and one.name != "bias"  # a GRU's has two rows
    ]


def _counted(model: Any) -> dict[str, int | None]:
    """Return MACs by the model's layers; of a model inside it, those of all layers in there."""
    inner = {layer.name for layer in model.layers if hasattr(layer, "layers")}
    found: dict[str, int | None] = {}
    for layer in count_macs(model).layers:
        outer = layer.name.partition("/")[0]
        name = outer if outer in inner else layer.name
        before = found.get(name, 0)
        found[name] = None if before is None or layer.macs is None else before + layer.macs
    return found


@dataclass
class _Layer:
    """What all calls of a layer say together.

    Attributes:
        read: the channels that its first call reads.
        made: whether its own weights decide how many channels it gives.
    """

    layout: Layout
    read: Axis

    @property
    def sizes(self) -> Sizes:
        return self.layout.sizes


def _walk(model: Any) -> tuple[ChannelIds, dict[str, _Layer]]:
    """Go through the model in the order of its computation, and return the layers by name."""
    ids = ChannelIds()
    axes: dict[int, Axes] = {id(end): (None,) * (len(end.shape) - 1) for end in model.inputs}
    found: dict[str, _Layer] = {}
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
                found[node.layer.name] = _Layer(said, _last(call.x))
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


def _last(axes: Axes) -> Axis:
    return next((axis for axis in reversed(axes) if axis is not None), None)


def _channels_of(found: _Layer) -> Axis:
    return _last(found.layout.outputs[0]) if found.layout.outputs else None


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


def _rooted(entry: Any, ids: ChannelIds) -> Any:
    if isinstance(entry, tuple):
        return tuple(_rooted(one, ids) for one in entry)
    return ids.roots(entry) if isinstance(entry, np.ndarray) else entry


def _weights(layer: Any, found: _Layer, ids: ChannelIds) -> tuple[WeightChannels, ...]:
    by_identity = {id(weight): axes for weight, axes in found.layout.weights}
    listed = []
    for index, weight in enumerate(layer.weights):
        axes = by_identity.get(id(weight), (None,) * len(weight.shape))
        rooted = tuple(None if axis is None else ids.roots(axis) for axis in axes)
        name = str(weight.name).split(":")[0].split("/")[-1]
        listed.append(WeightChannels(index, name, tuple(weight.shape), rooted))
    return tuple(listed)


def _groups(
    weights: Mapping[str, tuple[WeightChannels, ...]], outputs: Mapping[str, Ids], layouts: Mapping[str, _Layer],
    ids: ChannelIds,
) -> list[Group]:  # fmt: skip
    """Put the channels together that stand in the same axes equally often."""
    places: dict[int, list[tuple[str, int, int, int]]] = {}
    for name, index, place, axis in _occurrences(weights):
        for root, count in zip(*np.unique(axis, return_counts=True), strict=True):
            places.setdefault(int(root), []).append((name, index, place, int(count)))
    members: dict[tuple[Any, ...], list[int]] = {}
    for root, found in places.items():
        members.setdefault((*found, ids.reason(root)), []).append(root)
    width = {name: set(axis.tolist()) for name, axis in outputs.items()}
    groups: list[Group] = []
    for roots in members.values():
        one = roots[0]
        layers = tuple(name for name in layouts if one in width.get(name, ()) and _makes(weights[name], one))
        readers = tuple(name for name in layouts if name not in layers and _makes(weights[name], one))
        first = (layers or readers)[0]
        each = int((outputs[first] == one).sum()) if first in outputs else 1
        taken = sum(group.name.partition(".")[0] == first for group in groups)
        name = f"{first}.{taken + 1}" if taken else first
        groups.append(Group(name, layers, readers, np.array(sorted(roots)), max(each, 1), ids.reason(one)))
    order = {name: place for place, name in enumerate(layouts)}
    return sorted(groups, key=lambda group: order[(group.layers or group.readers)[0]])


def _occurrences(weights: Mapping[str, tuple[WeightChannels, ...]]) -> Iterator[tuple[str, int, int, Ids]]:
    for name, some in weights.items():
        for weight in some:
            for place, axis in enumerate(weight.axes):
                if axis is not None:
                    yield name, weight.index, place, axis


def _makes(weights: tuple[WeightChannels, ...], channel: int) -> bool:
    return any(axis is not None and channel in axis for weight in weights for axis in weight.axes)


def _size(axis: Ids, group_of: Mapping[int, Group]) -> Size:
    fixed, each = 0, {}
    for root, count in zip(*np.unique(axis, return_counts=True), strict=True):
        group = group_of.get(int(root))
        if group is None:
            fixed += int(count)
        else:
            each[group.name] = int(count)
    return Size(fixed, tuple(each.items()))


def _width(axis: Axis, shape: Any, ids: ChannelIds, group_of: Mapping[int, Group]) -> Size | None:
    """Return the width of a tensor; of one whose channels cannot change, the length of its last axis."""
    if axis is not None:
        return _size(ids.roots(axis), group_of)
    one = shape[0] if isinstance(shape, list) else shape
    return Size(int(one[-1])) if len(one) > 1 and one[-1] is not None else None
