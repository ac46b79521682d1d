"""The smaller model: channels that were chosen leave every weight and every config that counts them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline.compress.channel_graph import ChannelGraph, LayerChannels
from pipeline.legacy_keras import load as load_keras

# group -> positions in it of the channels that stay, sorted
Kept = Mapping[str, np.ndarray]


def remove(model: Any, graph: ChannelGraph, kept: Kept) -> Any:
    """Return an ordinary, smaller model with the same layers; the one given is left as it is.

    Args:
        model: functional or sequential, that `graph` was made from.
        kept: at least one channel for each group that it names; groups that it does not name stay whole.

    Raises:
        ValueError: a group that stays whole, or does not exist, would lose channels, or none would be left.
    """
    keras = load_keras()
    from tf_keras.src.saving.serialization_lib import SafeModeScope

    gone = _gone(graph, kept)
    functional = keras.Model(model.inputs, model.outputs, name=model.name)
    config = functional.get_config()
    layers = {layer.name: layer for layer in graph.layers}
    config["layers"] = [_entry(entry, layers.get(entry["config"]["name"]), gone) for entry in config["layers"]]
    with SafeModeScope(False):  # a Lambda's function comes from the model itself, not from a file
        smaller = keras.Model.from_config(config)
    for layer in functional.layers:
        if layer.weights:
            channels = layers[layer.name]
            values = layer.get_weights()
            for weight in channels.weights:
                for place, axis in enumerate(weight.axes):
                    if axis is not None:
                        stays = np.flatnonzero(~np.isin(axis, gone))
                        values[weight.index] = np.take(values[weight.index], stays, axis=place)
            target = smaller.get_layer(layer.name)
            target.set_weights(values)
            target.trainable = layer.trainable
    return smaller


def _gone(graph: ChannelGraph, kept: Kept) -> np.ndarray:
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


def _entry(entry: dict[str, Any], layer: LayerChannels | None, gone: np.ndarray) -> dict[str, Any]:
    """Return a layer's entry in the model's config with the numbers of channels that stay."""
    entry = copy.deepcopy(entry)
    _forget_shapes(entry)
    for path, size in (layer.sizes if layer else {}).items():
        at = entry["config"]
        for key in path[:-1]:
            at = at.get(key) or {}
        if at:
            at[path[-1]] = _count(size, gone)
    return entry


def _forget_shapes(entry: Any) -> None:
    """Take out the shapes that a layer would be built with before it is called."""
    if isinstance(entry, dict):
        entry.pop("build_config", None)
        for value in entry.values():
            _forget_shapes(value)


def _count(size: Any, gone: np.ndarray) -> Any:
    if isinstance(size, tuple):
        return tuple(_count(one, gone) if isinstance(one, np.ndarray) else one for one in size)
    return int((~np.isin(size, gone)).sum())
