"""Batch normalization behind a dense layer becomes part of that layer, as every runtime would fold it.

Quantization-aware training has one range for all weights of a dense layer (TensorFlow's converter cannot transpose a
kernel with a range per channel), and a batch normalization gives each of its outputs a scale of its own: the two do not
fit into integers together, and the layer would stay float in the file. So it is folded before the ranges are found.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.compress import support
from pipeline.legacy_keras import load as load_keras


def fold(model: Any) -> tuple[Any, dict[str, str]]:
    """Return an equal model without the batch normalizations that directly follow a dense layer, weights included.

    Args:
        model: functional or sequential; it is left as it is.

    Returns:
        The model, and layer name of each batch normalization that is gone -> name of the dense layer it went into.
    """
    keras = load_keras()
    functional = keras.Model(model.inputs, model.outputs, name=model.name)
    pairs = {layer.name: layer._inbound_nodes[0].inbound_layers for layer in model.layers if _folds(layer)}
    if not pairs:
        return functional, {}
    into = {name: dense.name for name, dense in pairs.items()}
    config = functional.get_config()
    config["layers"] = [_rewired(entry, into) for entry in config["layers"] if entry["config"]["name"] not in into]
    config["output_layers"] = [[into.get(name, name), *rest] for name, *rest in config["output_layers"]]
    folded = keras.Model.from_config(config)
    for layer in folded.layers:
        if layer.name not in into.values():
            layer.set_weights(functional.get_layer(layer.name).get_weights())
    for name, dense in pairs.items():
        folded.get_layer(dense.name).set_weights(_scaled(dense, model.get_layer(name)))
    return folded, into


def _folds(layer: Any) -> bool:
    if type(layer).__name__ != "BatchNormalization" or len(layer._inbound_nodes) != 1:
        return False
    before = layer._inbound_nodes[0].inbound_layers
    return (
        type(before).__name__ == "Dense"
        and len(before._outbound_nodes) == 1
        and support.function(before) == "linear"
        and tuple(layer.axis) == (len(layer.input_shape) - 1,)
    )


def _rewired(entry: Any, into: dict[str, str]) -> Any:
    def renamed(node: Any) -> Any:
        if isinstance(node, list) and node and isinstance(node[0], str):
            return [into.get(node[0], node[0]), *node[1:]]
        return [renamed(inner) for inner in node] if isinstance(node, list) else node

    config = dict(entry["config"], use_bias=True) if entry["config"]["name"] in into.values() else entry["config"]
    return dict(entry, config=config, inbound_nodes=renamed(entry["inbound_nodes"]))


def _scaled(dense: Any, norm: Any) -> list[np.ndarray]:
    """Return kernel [in, out] and bias [out] of both layers together (Ioffe and Szegedy, 2015, in evaluation)."""
    scale, shift = scale_and_shift(norm)
    bias = dense.bias.numpy() if dense.use_bias else np.zeros_like(shift)
    return [dense.kernel.numpy() * scale, bias * scale + shift]


def scale_and_shift(norm: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return what a batch normalization multiplies each channel by in evaluation and then adds, float32 [channels]."""
    mean, variance = norm.moving_mean.numpy(), norm.moving_variance.numpy()
    gamma = norm.gamma.numpy() if norm.scale else np.ones_like(mean)
    beta = norm.beta.numpy() if norm.center else np.zeros_like(mean)
    scale = gamma / np.sqrt(variance + norm.epsilon)
    return scale, beta - mean * scale
