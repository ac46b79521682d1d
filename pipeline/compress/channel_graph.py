"""Which layers of a Keras model must lose the same channels: a dependency graph, after DepGraph (Fang et al., 2023).

Every channel is followed through the model, position by position, from the layer that makes it to all that read it.
Channels that always go together are one; those that stand in the same axes of the same weights are a group, of which
any may be removed. What cannot be followed, and what goes into and comes out of the model, stays whole with a reason.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.compress.channel_counts import Count, Product, Size, Widths
from pipeline.compress.channel_ids import Axes, Axis, ChannelIds, Ids
from pipeline.compress.channel_rules.call import Sizes
from pipeline.compress.channel_walk import Walked, walk
from pipeline.legacy_keras import load as load_keras
from pipeline.measuring.macs import macs as count_macs

# group -> positions in it of the channels that stay, sorted
Kept = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Group:
    """Channels of which any may be removed, each of them everywhere at once.

    Attributes:
        name: of the first layer that makes them; `NAME.2` for a further group of its channels.
        layers: all that lose them as their outputs, in the model's order.
        readers: all whose kernels read them.
        ids: the channels, int64 [size].
        multiplicity: positions that one takes in the first layer's output; 0 where it has none of its own there, as an
            attention's heads.
        reason: why all of them stay; empty where they need not.
        through: all layers, with weights or not, in whose outputs they are.
    """

    name: str
    layers: tuple[str, ...]
    readers: tuple[str, ...]
    ids: Ids
    multiplicity: int
    reason: str = ""
    through: tuple[str, ...] = ()

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

    @property
    def kernel(self) -> bool:
        """Whether it multiplies what is read: no bias, though a GRU's has two rows, and no slopes."""
        return len(self.shape) > 1 and self.name not in ("bias", "alpha")


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
        return Count([self._product(layer, one) for layer in self.layers for one in layer.weights], self.full)

    @functools.cached_property
    def _macs(self) -> Count:
        products = []
        for layer in self.layers:
            before = _total(layer, self.full)
            if layer.macs and before:
                products += [Product(layer.macs * number / before, sizes) for number, sizes in layer.products]
        return Count(products, self.full)

    def size(self, layer: str, weight: WeightChannels, place: int) -> Size:
        """Return how long an axis of a layer's weight is; places are counted from the end where they are negative."""
        at = place % len(weight.shape)
        return self._sizes.get((layer, weight.index, at)) or Size(weight.shape[at])

    def _product(self, layer: LayerChannels, weight: WeightChannels) -> Product:
        found = [(self._sizes.get((layer.name, weight.index, at)), length) for at, length in enumerate(weight.shape)]
        fixed = math.prod(length for size, length in found if size is None)
        return Product(float(fixed), tuple(size for size, _ in found if size is not None))


def follow(model: Any) -> ChannelGraph:
    """Return the channels of a functional or sequential tf_keras model, which is left as it is."""
    functional = as_functional(model)
    ids, layouts = walk(functional)
    weights = {name: _weights(functional.get_layer(name), found, ids) for name, found in layouts.items()}
    outputs = {name: ids.roots(axis) for name, found in layouts.items() if (axis := found.given) is not None}
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
                _width(found.read, layer, layer.input_shape, ids, group_of),
                _width(found.given, layer, layer.output_shape, ids, group_of),
            )
        )  # fmt: skip
    return ChannelGraph(tuple(groups), tuple(listed), sizes)


def as_functional(model: Any) -> Any:
    """Return a functional model with the same layers and the same ends; of one that is functional, itself."""
    keras = load_keras()
    sequential = isinstance(model, keras.Sequential)
    return keras.Model(model.inputs, model.outputs, name=model.name) if sequential else model


def removed(graph: ChannelGraph, kept: Kept) -> Ids:
    """Return the channels that go where these positions of groups stay.

    Raises:
        ValueError: a group that stays whole, or does not exist, would lose channels, or none would be left.
    """
    groups = {group.name: group for group in graph.groups}
    gone: list[int] = []
    for name, places in kept.items():
        group = groups.get(name)
        if group is None:
            raise ValueError(f"there is no group {name}")
        stays = set(group.ids[places].tolist())
        lost = [one for one in group.ids.tolist() if one not in stays]
        if not stays or (lost and group.reason):
            raise ValueError(f"the channels of {name} cannot all go" if not stays else f"{name}: {group.reason}")
        gone += lost
    return np.array(gone, dtype=np.int64)


def narrowed(graph: ChannelGraph, kept: Kept) -> ChannelGraph:
    """Return the graph of the model that `removal.remove` makes: the same groups, with the channels that stay.

    Raises:
        ValueError: as `removed`.
    """
    gone = removed(graph, kept)
    widths = graph.full | {name: len(places) for name, places in kept.items()}

    def stay(ids: Ids) -> Ids:
        return ids[~np.isin(ids, gone)]

    def weight(one: WeightChannels) -> WeightChannels:
        axes = tuple(None if axis is None else stay(axis) for axis in one.axes)
        lengths = zip(one.shape, axes, strict=True)
        shape = tuple(length if axis is None else len(axis) for length, axis in lengths)
        return dataclasses.replace(one, shape=shape, axes=axes)

    def layer(one: LayerChannels) -> LayerChannels:
        before, after = _total(one, graph.full), _total(one, widths)
        sizes = {
            path: tuple(stay(part) if isinstance(part, np.ndarray) else part for part in size)
            if isinstance(size, tuple)
            else stay(size)
            for path, size in one.sizes.items()
        }
        macs = one.macs * after // before if one.macs and before else one.macs
        return dataclasses.replace(one, macs=macs, weights=tuple(map(weight, one.weights)), sizes=sizes)

    groups = tuple(dataclasses.replace(group, ids=stay(group.ids)) for group in graph.groups)
    return ChannelGraph(groups, tuple(map(layer, graph.layers)), graph._sizes)


def _total(layer: LayerChannels, widths: Widths) -> int:
    return sum(number * math.prod(size.at(widths) for size in sizes) for number, sizes in layer.products)


def _by_kernels(weights: tuple[WeightChannels, ...]) -> list[tuple[int, Axes]]:
    """Return products of a layer that lays each of its kernels on as many places."""
    return [
        (math.prod(size for size, axis in zip(one.shape, one.axes, strict=True) if axis is None), one.axes)
        for one in weights
        if one.kernel
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


def _rooted(entry: Any, ids: ChannelIds) -> Any:
    if isinstance(entry, tuple):
        return tuple(_rooted(one, ids) for one in entry)
    return ids.roots(entry) if isinstance(entry, np.ndarray) else entry


def _weights(layer: Any, found: Walked, ids: ChannelIds) -> tuple[WeightChannels, ...]:
    by_identity = {id(weight): axes for weight, axes in found.layout.weights}
    listed = []
    for index, weight in enumerate(layer.weights):
        axes = by_identity.get(id(weight), (None,) * len(weight.shape))
        rooted = tuple(None if axis is None else ids.roots(axis) for axis in axes)
        name = str(weight.name).split(":")[0].split("/")[-1]
        listed.append(WeightChannels(index, name, tuple(weight.shape), rooted))
    return tuple(listed)


def _groups(
    weights: Mapping[str, tuple[WeightChannels, ...]], outputs: Mapping[str, Ids], layouts: Mapping[str, Walked],
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
    given = {name: set(axis.tolist()) for name, axis in outputs.items()}
    groups: list[Group] = []
    names: set[str] = set()
    for roots in members.values():
        one = roots[0]
        through = tuple(name for name in layouts if one in given.get(name, ()))
        layers = tuple(name for name in through if _makes(weights[name], one))
        readers = tuple(name for name in layouts if name not in layers and _makes(weights[name], one))
        first = (layers or readers)[0]
        name = _unused(first, names, layouts)
        names.add(name)
        each = int((outputs[first] == one).sum()) if first in outputs else 0
        groups.append(Group(name, layers, readers, np.array(sorted(roots)), each, ids.reason(one), through))
    order = {name: place for place, name in enumerate(layouts)}
    return sorted(groups, key=lambda group: order[(group.layers or group.readers)[0]])


def _unused(first: str, names: set[str], layouts: Mapping[str, Walked]) -> str:
    """Return a name for a group that no other group has, and no other layer."""
    numbered = (f"{first}.{number}" for number in itertools.count(2))
    return first if first not in names else next(one for one in numbered if one not in names and one not in layouts)


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


def _width(axis: Axis, layer: Any, shape: Any, ids: ChannelIds, group_of: Mapping[int, Group]) -> Size | None:
    """Return the width of a tensor; of one whose channels cannot change, the length of its channel axis."""
    if axis is not None:
        return _size(ids.roots(axis), group_of)
    one = shape[0] if isinstance(shape, list) else shape
    at = 1 if getattr(layer, "data_format", None) == "channels_first" else -1
    return Size(int(one[at])) if len(one) > 1 and one[at] is not None else None
