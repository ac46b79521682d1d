"""Layers over sequences become layers over images of one row, which is what runtimes make of them, too.

LiteRT has no 1D convolution: TensorFlow's converter adds a dimension in front of each and takes it away behind it. Done
before quantization-aware training, what is trained is what the file computes: TF-MOT knows the 2D layers, their ranges
per channel and the batch normalizations behind them. A dense layer over several dimensions is a 1x1 convolution.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pipeline.compress import support
from pipeline.compress.rewriting import Call, rewrite
from pipeline.legacy_keras import load as load_keras

_CONVOLUTIONS = {
    "Conv1D": "Conv2D", "SeparableConv1D": "SeparableConv2D", "DepthwiseConv1D": "DepthwiseConv2D",
    "Conv1DTranspose": "Conv2DTranspose",
}  # fmt: skip
_POOLING = {"MaxPooling1D": "MaxPooling2D", "AveragePooling1D": "AveragePooling2D"}
_GLOBAL = {"GlobalAveragePooling1D": "GlobalAveragePooling2D", "GlobalMaxPooling1D": "GlobalMaxPooling2D"}
# what computes the same value by value, or over the last axis, however many dimensions there are before it
_EVERYWHERE = (
    "Activation", "Add", "BatchNormalization", "Dropout", "ELU", "GaussianDropout", "GaussianNoise", "LeakyReLU",
    "Maximum", "Minimum", "Multiply", "ReLU", "Subtract",
)  # fmt: skip


def lift(model: Any, origins: dict[str, str]) -> tuple[Any, dict[str, str]]:
    """Return an equal model without 1D layers that int8 can compute as 2D ones, weights included.

    Args:
        model: functional or sequential; it is left as it is.
        origins: see `rewriting.rewrite`.

    Returns:
        The model, and name of each layer with a kernel that has another class now -> that class.
    """
    if not any(not support.floating(layer) and _over_sequences(layer) for layer in model.layers):
        return model, {}
    lifter = _Lifter()
    written = rewrite(model, lifter.replace, origins)
    if not lifter.used:
        return model, {}
    # sequences that nobody reads hang on the images that they are made of, as if these had another reader
    lifted = load_keras().models.clone_model(written)
    lifted.set_weights(written.get_weights())
    return lifted, lifter.changed


def _over_sequences(layer: Any) -> bool:
    """Return whether a layer becomes one over images, or a convolution, whatever stands around it."""
    kind = type(layer).__name__
    return kind in (*_CONVOLUTIONS, *_POOLING, "UpSampling1D") or (kind == "Dense" and len(layer.input_shape) > 2)


class _Lifter:
    def __init__(self) -> None:
        self.changed: dict[str, str] = {}
        self.used = False
        self._rows: dict[int, tuple[Any, Any]] = {}  # id of a sequence -> it, and the image of one row that it is

    def replace(self, call: Call) -> Any:
        layer, kind = call.layer, type(call.layer).__name__
        if support.floating(layer):
            return None
        if kind == "Dense" and len(layer.input_shape) == 4:
            return self._with_kernel(call, call.args[0], _pointwise(layer), kernels=lambda kernel: kernel[None, None])
        if kind in _CONVOLUTIONS or (kind == "Dense" and len(layer.input_shape) == 3):
            return self._convolved(call, kind)
        if kind in _POOLING:
            config = layer.get_config()
            sides = {key: (1, *config[key]) for key in ("pool_size", "strides")}
            made = _layer(_POOLING[kind], {**config, **sides})
            return self._sequence(call, made(self._row(call, call.args[0])))
        if kind == "UpSampling1D":
            made = load_keras().layers.UpSampling2D((1, layer.size), name=layer.name)
            return self._sequence(call, made(self._row(call, call.args[0])))
        if kind in _GLOBAL and id(call.args[0]) in self._rows and not layer.keepdims:
            self.used = True
            return _layer(_GLOBAL[kind], layer.get_config())(self._row(call, call.args[0]))
        given = call.args[0] if isinstance(call.args[0], list) else [call.args[0]]
        told = any(option is not None for option in call.options.values())
        if kind in _EVERYWHERE and not told and all(id(one) in self._rows for one in given):
            return self._everywhere(call, given)
        return None

    def _convolved(self, call: Call, kind: str) -> Any:
        layer = call.layer
        rows = self._row(call, call.args[0])
        if kind == "Dense":
            made = _pointwise(layer)
            flat = self._with_kernel(call, rows, made, kernels=lambda kernel: kernel[None, None])
            return self._sequence(call, flat)
        config = layer.get_config()
        sides = {
            key: (1, *np.atleast_1d(config[key]).tolist())
            for key in ("kernel_size", "strides", "dilation_rate", "output_padding")
            if config.get(key) is not None
        }
        if kind == "DepthwiseConv1D" or kind == "SeparableConv1D":
            sides["strides"] = (sides["strides"][1],) * 2  # TensorFlow takes equal ones alone, and there is one row
        if sides.get("output_padding"):
            sides["output_padding"] = (0, sides["output_padding"][1])
        if config["padding"] == "causal":
            ahead = sides["dilation_rate"][1] * (sides["kernel_size"][1] - 1)
            padding = ((0, 0), (ahead, 0))
            rows = load_keras().layers.ZeroPadding2D(padding, name=call.free(f"{layer.name}_causal"))(rows)
            config["padding"] = "valid"
        made = _layer(_CONVOLUTIONS[kind], {**config, **sides})
        return self._sequence(call, self._with_kernel(call, rows, made, kernels=lambda kernel: kernel[None]))

    def _with_kernel(
        self, call: Call, given: Any, made: Any, *, kernels: Callable[[np.ndarray], np.ndarray]
    ) -> Any:  # fmt: skip
        found = made(given)
        made.set_weights([kernels(one) if one.ndim > 1 else one for one in call.layer.get_weights()])
        self.changed[call.layer.name] = type(made).__name__
        self.used = True
        return found

    def _everywhere(self, call: Call, given: list[Any]) -> Any:
        layer = call.layer
        config = layer.get_config()
        if type(layer).__name__ == "BatchNormalization":
            config["axis"] = -1  # `support` leaves others float
        rows = [self._row(call, one) for one in given]
        made = type(layer).from_config(config)
        found = made(rows if isinstance(call.args[0], list) else rows[0])
        made.set_weights(layer.get_weights())
        return self._sequence(call, found)

    def _row(self, call: Call, sequence: Any) -> Any:
        """Return the image [n, 1, time, channels] that a sequence [n, time, channels] is."""
        if id(sequence) not in self._rows:
            shape = [1, *(-1 if side is None else side for side in sequence.shape[1:])]
            name = call.free(f"{call.layer.name}_row")
            self._rows[id(sequence)] = sequence, load_keras().layers.Reshape(shape, name=name)(sequence)
        return self._rows[id(sequence)][1]

    def _sequence(self, call: Call, rows: Any) -> Any:
        """Return the sequence that an image of one row is."""
        self.used = True
        shape = [-1 if side is None else side for side in rows.shape[2:]]
        sequence = load_keras().layers.Reshape(shape, name=call.free(f"{call.layer.name}_sequence"))(rows)
        self._rows[id(sequence)] = sequence, rows
        return sequence


def _layer(kind: str, config: dict[str, Any]) -> Any:
    made = getattr(load_keras().layers, kind)
    return made.from_config({key: value for key, value in config.items() if key != "batch_input_shape"})


def _pointwise(dense: Any) -> Any:
    config = dense.get_config()
    units = config.pop("units")
    return _layer("Conv2D", {**config, "filters": units, "kernel_size": 1})
