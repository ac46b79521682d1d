"""How much each channel matters, from weights or from gradients; within a group alone.

A group's scores have the mean 1: kernels of different layers are of different sizes, and only how a channel compares
with its own is known from them. Every weight in which a channel stands has the same say (Fang et al., 2023).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np

from pipeline.compress.channel_graph import ChannelGraph, Group, WeightChannels
from pipeline.errors import PromiseError

How = Literal["l1", "l2", "batch_norm", "taylor", "random"]
Scores = dict[str, np.ndarray]
# (layer, index in its weights) -> gradient of the loss over one batch, of the weight's shape
Gradients = Mapping[tuple[str, int], np.ndarray]


def scores(graph: ChannelGraph, model: Any, how: How, *, seed: int = 0, gradients: Iterable[Gradients] = ()) -> Scores:
    """Return a score for each channel of each group, float64 [size], at least 0.

    Args:
        graph: of the model.
        model: a tf_keras model.
        how: l1, l2: size of the kernels (Li et al., 2017); batch_norm: of the scales behind them (Liu et al., 2017),
            where a group has none, of its kernels; taylor: what the loss would change by, to the first order (Molchanov
            et al., 2019); random: a control, by the seed.
        gradients: of some batches, one after the other; taylor only.

    Raises:
        PromiseError: gradients are not finite.
    """
    if how == "random":
        chance = np.random.default_rng(seed)
        return {group.name: chance.random(group.size) for group in graph.groups}
    values = {layer.name: model.get_layer(layer.name).get_weights() for layer in graph.layers}
    if how == "taylor":
        return _taylor(graph, values, gradients)
    found: Scores = {}
    for group in graph.groups:
        scales = _parts(graph, group, values, _is_scale) if how == "batch_norm" else []
        parts = [_length(part, how) for part in scales or _parts(graph, group, values, _is_kernel)]
        found[group.name] = _mean([_relative(part) for part in parts], group)
    return found


def without_scales(graph: ChannelGraph) -> list[str]:
    """Return the groups that no batch normalization scales: by batch_norm they are compared by their kernels."""
    scaled = {
        group.name
        for group in graph.removable
        if any(_stands_in(weight, group) and _is_scale(layer.kind, weight)
               for layer in graph.layers for weight in layer.weights)
    }  # fmt: skip
    return [group.name for group in graph.removable if group.name not in scaled]


def _is_kernel(_: str, weight: WeightChannels) -> bool:
    return weight.kernel


def _is_scale(kind: str, weight: WeightChannels) -> bool:
    return kind == "BatchNormalization" and weight.name == "gamma"


def _stands_in(weight: WeightChannels, group: Group) -> bool:
    return any(axis is not None and np.isin(group.ids, axis).any() for axis in weight.axes)


def _parts(graph: ChannelGraph, group: Group, values: Mapping[str, list[np.ndarray]], wanted: Any) -> list[np.ndarray]:
    """Return what belongs to each channel of a group in each axis of some weights, [size, numbers]."""
    return [
        _of_channels(values[layer.name][weight.index], place, axis, group)
        for layer in graph.layers
        for weight in layer.weights
        if wanted(layer.kind, weight)
        for place, axis in enumerate(weight.axes)
        if axis is not None and np.isin(group.ids, axis).all()
    ]


def _of_channels(values: np.ndarray, place: int, axis: np.ndarray, group: Group) -> np.ndarray:
    lined = np.moveaxis(values, place, 0).reshape(len(axis), -1)
    return np.stack([lined[axis == one].ravel() for one in group.ids])


def _length(part: np.ndarray, how: How) -> np.ndarray:
    whole = part.astype(np.float64)
    found: np.ndarray = np.sqrt((whole**2).sum(axis=1)) if how == "l2" else np.abs(whole).sum(axis=1)
    return found


def _relative(part: np.ndarray) -> np.ndarray:
    mean = part.mean()
    return part / mean if mean > 0 else np.ones_like(part)


def _mean(parts: list[np.ndarray], group: Group) -> np.ndarray:
    return np.mean(parts, axis=0) if parts else np.ones(group.size)


def _taylor(
    graph: ChannelGraph, values: Mapping[str, list[np.ndarray]], gradients: Iterable[Gradients]
) -> Scores:  # fmt: skip
    """Return the mean over batches of the squared sum of gradient times weight over all that a channel has."""
    total = {group.name: np.zeros(group.size) for group in graph.groups}
    for batch in gradients:
        products = {
            layer.name: [
                value * batch[layer.name, index] if (layer.name, index) in batch else np.zeros_like(value)
                for index, value in enumerate(values[layer.name])
            ]
            for layer in graph.layers
        }
        for group in graph.groups:
            for part in _parts(graph, group, products, _is_kernel):
                total[group.name] += part.astype(np.float64).sum(axis=1) ** 2
    if not all(np.isfinite(found).all() for found in total.values()):
        raise PromiseError(
            "shrink: the gradients that importance rests on are not finite", expected="a loss that has gradients",
            found="infinities or no numbers", todo="shrink.importance l2, which looks at the weights alone",
        )  # fmt: skip
    return {name: _relative(np.sqrt(found)) for name, found in total.items()}
