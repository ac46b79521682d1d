"""The smaller model: channels that were chosen leave every weight and every config that counts them."""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from pipeline.compress.channel_graph import ChannelGraph, Kept, LayerChannels, as_functional, removed
from pipeline.legacy_keras import load as load_keras


def remove(model: Any, graph: ChannelGraph, kept: Kept) -> Any:
    """Return an ordinary, smaller model with the same layers; the one given is left as it is.

    Args:
        model: functional or sequential, that `graph` was made from.
        kept: at least one channel for each group that it names; groups that it does not name stay whole.

    Raises:
        ValueError: a group that stays whole, or does not exist, would lose channels, or none would be left.
    """
    keras = load_keras()
    gone = removed(graph, kept)
    functional = as_functional(model)
    config = functional.get_config()
    layers = {layer.name: layer for layer in graph.layers}
    config["layers"] = [_entry(entry, layers.get(entry["config"]["name"]), gone) for entry in config["layers"]]
    with _own_functions(functional):
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
            smaller.get_layer(layer.name).set_weights(values)
    return smaller


def _own_functions(model: Any) -> AbstractContextManager[Any]:
    """Let a Lambda be made again where the model has one: its function comes from the model itself, not from a file."""
    if not any(type(layer).__name__ == "Lambda" for layer in model._flatten_layers()):
        return nullcontext()
    from tf_keras.src.saving.serialization_lib import SafeModeScope

    scope: AbstractContextManager[Any] = SafeModeScope(False)
    return scope


def _entry(entry: dict[str, Any], layer: LayerChannels | None, gone: np.ndarray) -> dict[str, Any]:
    """Return a layer's entry in the model's config with the numbers of channels that stay."""
    entry = copy.deepcopy(entry)
    _forget_shapes(entry)
    _forget_arrays(entry["config"])
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


def _forget_arrays(config: Any) -> None:
    """Let weights begin with zeros that would begin with an array, which is of the old shape."""
    if not isinstance(config, dict):
        return
    for key, value in config.items():
        given = value.get("config") if isinstance(value, dict) else None
        if key.endswith("_initializer") and isinstance(given, dict) and np.ndim(given.get("value", 0)):
            config[key] = "zeros"
        else:
            _forget_arrays(value)


def _count(size: Any, gone: np.ndarray) -> Any:
    if isinstance(size, tuple):
        return tuple(_count(one, gone) if isinstance(one, np.ndarray) else one for one in size)
    return int((~np.isin(size, gone)).sum())
