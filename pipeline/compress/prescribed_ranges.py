"""Ranges that LiteRT's int8 kernels prescribe: of what bounded functions give, and behind averages of neighbours.

A kernel that pools, enlarges or moves values has one range for both ends, and those of softmax, sigmoid, tanh and the
L2 norm give what their function can be, whatever it is. TF-MOT trains with ranges of their own, or with none. Before a
Concatenate, whose inputs TensorFlow's converter gives one range, it then refuses the model or cuts values away.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.compress import support
from pipeline.errors import InputError

# in steps of 1/256 and 1/128: LiteRT 8-bit quantization specification, LOGISTIC, SOFTMAX, TANH and L2_NORMALIZATION
_UNIT, _BOTH_SIGNS = (0.0, 255 / 256), (-1.0, 127 / 128)
_FUNCTIONS = {"softmax": _UNIT, "sigmoid": _UNIT, "tanh": _BOTH_SIGNS}
_LAYERS = {"Softmax": _UNIT, "UnitNormalization": _BOTH_SIGNS}


def fixed(layer: Any) -> tuple[float, float] | None:
    """Return the range (low, high) that int8 always has behind a layer; None where it has none of this kind."""
    return _LAYERS.get(type(layer).__name__) or _FUNCTIONS.get(support.function(layer))


# behind them int8 has the range of what they read
_HANDING_ON = (
    "AveragePooling1D", "AveragePooling2D", "Cropping2D", "Dropout", "Flatten", "Identity", "MaxPooling1D",
    "MaxPooling2D", "Permute", "RepeatVector", "Reshape", "UpSampling1D", "UpSampling2D", "ZeroPadding2D",
)  # fmt: skip


def require_common(model: Any, left: Mapping[str, str]) -> None:
    """Refuse a model that concatenates what has a fixed range with what has another.

    TensorFlow's converter takes the range of the first for all, and cuts the values of the others to it, or fails.

    Args:
        model: functional, of plain layers.
        left: layer name -> why it stays float.

    Raises:
        InputError: with the layers.
    """
    for layer in model.layers:
        if type(layer).__name__ != "Concatenate":
            continue
        sources = [_source(end) for node in layer._inbound_nodes for end in node.keras_inputs]
        limits = {one.name: None if one.name in left else fixed(one) for one in sources}
        if len(set(limits.values())) > 1:
            bounded = ", ".join(name for name, limit in limits.items() if limit)
            raise InputError(
                f"quantize: {layer.name} concatenates what int8 cannot give one range",
                expected="inputs that all come from softmax, sigmoid, tanh or the L2 norm alike, or none of them",
                found=f"{bounded}, whose range LiteRT fixes, beside others",
                todo="leave the section quantize out: the int8 .tflite is then quantized after training",
            )  # fmt: skip


def _source(end: Any) -> Any:
    layer = end._keras_history.layer
    while type(layer).__name__ in _HANDING_ON and not isinstance(layer.input, list):
        layer = layer.input._keras_history.layer
    return layer


def same(config: Any) -> bool:
    """Return whether a quantize config rounds what a layer gives to the range of what comes to it."""
    return getattr(config, "same_range", False)


def prescribe(built: Any) -> None:
    """Give the layers of a model that have the range of what comes to them that range.

    Args:
        built: functional, of TF-MOT's wrappers; its layers are in the order in which they compute.
    """
    for wrapper in built.layers:
        if not hasattr(wrapper, "quantize_config"):
            continue
        if same(wrapper.quantize_config):
            (found,) = _before(wrapper)
            wrapper._output_quantizers = [_range(found)] if _range(found) else wrapper._output_quantizers


def prescribed(wrapper: Any) -> bool:
    """Return whether the range behind a layer is none that it finds in training."""
    return any(isinstance(one, (_Fixed, _AsBefore)) for one in wrapper._output_quantizers)


def _before(layer: Any) -> list[Any]:
    found = layer._inbound_nodes[0].inbound_layers
    return found if isinstance(found, list) else [found]


def _range(layer: Any) -> _Fixed | _AsBefore | None:
    """Return what rounds to the range behind a layer; None where nothing is known of it, as behind a float one."""
    if type(layer).__name__ == "QuantizeLayer":
        return _AsBefore(layer.quantizer, layer.quantizer_vars)
    if not hasattr(layer, "quantize_config"):
        return None
    if limits := fixed(layer.layer):
        return _Fixed(*limits)
    for activation in layer._quantize_activations:
        if hasattr(activation, "_post_activation_vars"):
            return _AsBefore(activation.quantizer, activation._post_activation_vars)
    if layer._output_quantizers and not same(layer.quantize_config):
        return _AsBefore(layer._output_quantizers[0], layer._output_quantizer_vars)
    before = _before(layer)
    return _range(before[0]) if len(before) == 1 else None


class _AsBefore:
    """A quantizer whose range is that of another, as it is."""

    def __init__(self, quantizer: Any, ranges: Mapping[str, Any]) -> None:
        self._quantizer = quantizer
        self._ranges = ranges

    def __call__(self, inputs: Any, training: bool, weights: Any, **kwargs: Any) -> Any:  # noqa: ARG002
        return self._quantizer(inputs, False, self._ranges, **kwargs)


class _Fixed:
    """A quantizer whose range never moves."""

    def __init__(self, low: float, high: float) -> None:
        self._limits = low, high

    def __call__(self, inputs: Any, training: bool, weights: Any, **kwargs: Any) -> Any:  # noqa: ARG002
        import tensorflow as tf

        return tf.quantization.fake_quant_with_min_max_args(inputs, *self._limits)
