"""Layers that compute in two steps become two layers, so that quantization-aware training can round between the steps.

A separable convolution is a depthwise and a 1x1 convolution (TF-MOT splits it too, but into layers that start anew),
and a rescaling with an offset is a multiplication and an addition.
"""

from __future__ import annotations

from typing import Any

from pipeline.compress import support
from pipeline.legacy_keras import load as load_keras


def split(model: Any) -> tuple[Any, dict[str, str]]:
    """Return an equal model whose two-step layers are two layers each, weights included.

    Args:
        model: functional or sequential; it is left as it is.

    Returns:
        The model, and name of each layer that was split -> name of the layer that is its first step now; the second
        has the old name.
    """
    keras = load_keras()
    functional = keras.Model(model.inputs, model.outputs, name=model.name)
    halves = {layer.name: pair for layer in functional.layers if (pair := _halves(layer))}
    if not halves:
        return functional, {}
    config = functional.get_config()
    layers = []
    for entry in config["layers"]:
        name = entry["config"]["name"]
        if name in halves:
            first, second = halves[name]
            layers += [_entry(first, entry["inbound_nodes"]), _entry(second, [[[first.name, 0, 0, {}]]])]
        else:
            layers.append(entry)
    whole = keras.Model.from_config(dict(config, layers=layers))
    for layer in functional.layers:
        weights = layer.get_weights()
        if layer.name in halves and weights:
            depthwise, *pointwise = weights
            whole.get_layer(halves[layer.name][0].name).set_weights([depthwise])
            weights = pointwise
        whole.get_layer(layer.name).set_weights(weights)
    return whole, {name: first.name for name, (first, _) in halves.items()}


def _halves(layer: Any) -> tuple[Any, Any] | None:
    keras = load_keras()
    if len(layer._inbound_nodes) != 1:
        return None
    match type(layer).__name__:
        case "SeparableConv2D":
            depthwise = keras.layers.DepthwiseConv2D(
                layer.kernel_size, strides=layer.strides, padding=layer.padding, data_format=layer.data_format,
                depth_multiplier=layer.depth_multiplier, dilation_rate=layer.dilation_rate, use_bias=False,
                depthwise_regularizer=layer.depthwise_regularizer,
                name=f"{layer.name}_depthwise",
            )  # fmt: skip
            pointwise = keras.layers.Conv2D(
                layer.filters, 1, data_format=layer.data_format, activation=layer.activation, use_bias=layer.use_bias,
                kernel_regularizer=layer.pointwise_regularizer,
                name=layer.name,
            )  # fmt: skip
            return depthwise, pointwise
        case "Rescaling" if layer.offset != 0 and not support.scales_columns(layer):
            scale = keras.layers.Rescaling(layer.scale, name=f"{layer.name}_scale")
            return scale, keras.layers.Rescaling(1.0, layer.offset, name=layer.name)
    return None


def _entry(layer: Any, inbound_nodes: Any) -> dict[str, Any]:
    """Return a layer as a functional model's config has it."""
    serialized: dict[str, Any] = load_keras().saving.serialize_keras_object(layer)
    return {**serialized, "name": layer.name, "inbound_nodes": inbound_nodes}
