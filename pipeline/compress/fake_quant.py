"""Quantization-aware training (Jacob et al., 2018) with TF-MOT, layer by layer: int8 weights and activations imitated
in float, such that zeros stay zeros and clusters clusters (PQAT, CQAT, PCQAT).

Weights are symmetric, per output channel in convolutions, activations asymmetric and per tensor, as LiteRT's 8-bit
specification has them. What differs from TF-MOT's own schemes:

* Ranges behind layers start at what the float model has on calibration samples. TF-MOT starts each at -6..6 and moves
  it by a thousandth a step, so that short trainings end with the ranges they started with.
* Zeros and clusters are kept by a projection after each step (`keeping`). TF-MOT's schemes for that bake masks into the
  exported graph, let zeros drift away and make whole 1x1 convolutions zero.
* Kernels that a ReLU layer follows without a batch normalization between are quantized; TF-MOT leaves them float.
* More layers have a quantize config, or become layers that have one: see quantize_scheme.py and lowering.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from pipeline.compress import keeping, kernels, one_range, prescribed_ranges, quantize_scheme, seen_by_all, support
from pipeline.errors import InputError
from pipeline.legacy_keras import load as load_keras
from pipeline.legacy_keras import load_tfmot


def build(
    model: Any, clustered: Mapping[str, str] | None = None, *, out: Mapping[str, str] | None = None
) -> Any:  # fmt: skip
    """Return a copy of a float model, weights included, that imitates int8 wherever `support` says it can.

    Its zeros and clusters stay while it is trained (PQAT, CQAT, PCQAT; see `keeping`).

    Args:
        model: plain layers, written in those that can be quantized (`lowering.lower`).
        clustered: layer name -> how its kernels are clustered; those of others keep their zeros alone.
        out: layer name -> why it stays float, though it need not.

    Raises:
        InputError: no layer with a kernel can be quantized.
    """
    keras = load_keras()
    tfmot = load_tfmot()
    left = floating(model, out)
    require_possible(model, left)

    def annotate(layer: Any) -> Any:
        copy = layer.__class__.from_config(layer.get_config())
        if type(layer).__name__ == "InputLayer" or layer.name in left:
            return copy
        return tfmot.quantization.keras.quantize_annotate_layer(copy)

    annotated = keras.models.clone_model(model, clone_function=annotate)
    annotated.set_weights(model.get_weights())
    with tfmot.quantization.keras.quantize_scope():
        built = tfmot.quantization.keras.quantize_apply(annotated, quantize_scheme.scheme(left, _rounded(model, left)))
    keeping.kept(model, clustered or {}, {_inner(layer).name: layer for layer in built.layers})
    for wrapper in _wrappers(built):
        if (clustered or {}).get(wrapper.layer.name) == keeping.TENSOR:
            wrapper._weight_vars = [
                (weight, one_range.OneRange(quantizer), ranges) for weight, quantizer, ranges in wrapper._weight_vars
            ]
        if wrapper.layer.name in (out or {}):
            wrapper._output_quantizers = [_Apart(quantizer) for quantizer in wrapper._output_quantizers]
    prescribed_ranges.prescribe(built)
    if seen_by_all.replicas() > 1:
        _replace_range_quantizers(built, seen_by_all.SeenByAll)
    for layer in map(_inner, built.layers):
        if hasattr(layer, "finalize_state"):  # Normalization computes with constants that it makes of its weights
            layer.finalize_state()
    return built


def require_possible(model: Any, left: Mapping[str, str]) -> None:
    """Refuse a model of which nothing that counts would be int8, or what int8 cannot compute rightly.

    Args:
        left: see `floating`.

    Raises:
        InputError: no layer with a kernel can be quantized, or see `prescribed_ranges.require_common`.
    """
    prescribed_ranges.require_common(model, left)
    if not any(kernels.of(layer) for layer in model.layers if layer.name not in left):
        raise InputError(
            "there is nothing to quantize in the model", expected="a layer with a kernel that TF-MOT can quantize",
            found="; ".join(f"{name}: {reason}" for name, reason in left.items()) or "no layer with a kernel",
            todo="leave the section quantize out: the int8 .tflite is then quantized after training",
        )  # fmt: skip


def floating(model: Any, out: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return layer name -> why it stays float, for every layer that quantization-aware training leaves alone.

    Args:
        out: those that it leaves alone though it need not.
    """
    return {
        layer.name: reason
        for layer in model.layers
        if type(layer).__name__ != "InputLayer" and (reason := (out or {}).get(layer.name) or support.floating(layer))
    }


def per_channel(built: Any) -> dict[str, bool]:
    """Return layer name -> whether its weights have a range per output channel, for layers whose weights are int8."""
    return {
        wrapper.layer.name: any(
            ranges["min_var"].shape.num_elements() > 1 and not isinstance(quantizer, one_range.OneRange)
            for _, quantizer, ranges in wrapper._weight_vars
        )
        for wrapper in _wrappers(built)
        if wrapper._weight_vars
    }


def calibrate(built: Any, model: Any, samples: np.ndarray) -> None:
    """Start all ranges where the float model's are: of the input, of activations and of weights.

    Args:
        built: what `build` made of `model`.
        samples: raw samples float32 [n, *input_shape], n >= 1.
    """
    keras = load_keras()
    behind = {name: model.get_layer(name).output for name, _ in _activation_ranges(built)}
    inside = {name: _before_function(model.get_layer(name)) for name, _ in _inner_ranges(built)}
    # a tuple: Keras takes a list that holds one tensor for that tensor
    found = keras.Model(model.inputs, (behind, inside)).predict(samples, batch_size=256, verbose=0)
    for answers, starting in zip(found, (_activation_ranges(built), _inner_ranges(built)), strict=True):
        for name, ranges in starting:
            # zero is in every range, so that padding and ReLU are exact
            ranges["min_var"].assign(min(0.0, float(answers[name].min())))
            ranges["max_var"].assign(max(0.0, float(answers[name].max())))
    for layer in built.layers:
        if type(layer).__name__ == "QuantizeLayer":
            layer.quantizer(samples, True, layer.quantizer_vars)
    settle(built)


def settle(built: Any) -> None:
    """Let the ranges of weights be those of the weights as they are; in training they lag by a step."""
    for wrapper in _wrappers(built):
        for weight, quantizer, ranges in wrapper._weight_vars:
            rounded = quantizer(weight, True, ranges)
            if isinstance(quantizer, one_range.OneRange):
                # halfway between two integers, equal weights of two channels could go either way in a file
                weight.assign(rounded)


def freezing(from_epoch: int) -> Any:
    """Return a Keras callback that stops the ranges of activations from moving.

    Args:
        from_epoch: the first epoch, counted from 1, in which they stay where they are.
    """
    keras = load_keras()

    class Freezing(keras.callbacks.Callback):  # type: ignore[misc, name-defined]
        frozen = False

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002 - Keras' signature
            if epoch + 1 < from_epoch or self.frozen:
                return
            self.frozen = True
            _replace_range_quantizers(self.model, _Frozen)
            # which operations a step consists of was decided when it was traced
            self.model.make_train_function(force=True)

        def on_train_end(self, logs: Any = None) -> None:  # noqa: ARG002 - Keras' signature
            if self.frozen:
                _replace_range_quantizers(self.model, lambda frozen: frozen.quantizer)

    return Freezing()


def plain(built: Any, model: Any) -> Any:
    """Return `model`'s architecture with the weights that quantization-aware training left in `built`.

    What it computes is not what `built` computes: nothing is rounded. Its kernels are what an int8 file rounds.
    """
    keras = load_keras()
    copy = keras.models.clone_model(model)
    trained = {_inner(layer).name: layer for layer in built.layers}
    for layer in copy.layers:
        if not layer.weights or layer.name not in trained:
            continue
        if not getattr(trained[layer.name], "_weight_vars", None):
            # by place: several weights of a layer inside a layer may have one name
            layer.set_weights(_inner(trained[layer.name]).get_weights())
        else:
            # the wrapper has them all; inside of it, a tensor stands where the kernel was
            found = {kernels.short(weight): weight.numpy() for weight in trained[layer.name].weights}
            layer.set_weights([found[kernels.short(weight)] for weight in layer.weights])
    return copy


def ranges(built: Any) -> Mapping[str, tuple[float, float]]:
    """Return layer name -> (low, high) of the activations' ranges."""
    return {name: (float(pair["min_var"]), float(pair["max_var"])) for name, pair in _activation_ranges(built)}


def _inner(layer: Any) -> Any:
    return layer.layer if hasattr(layer, "quantize_config") else layer


def _wrappers(built: Any) -> list[Any]:
    return [layer for layer in built.layers if hasattr(layer, "quantize_config")]


def _activation_ranges(built: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (layer name, {"min_var", "max_var"}) for the range behind each layer."""
    for wrapper in _wrappers(built):
        for activation in wrapper._quantize_activations:
            if hasattr(activation, "_post_activation_vars"):
                yield wrapper.layer.name, activation._post_activation_vars
        if wrapper._output_quantizers and not prescribed_ranges.prescribed(wrapper):
            yield wrapper.layer.name, wrapper._output_quantizer_vars


def _inner_ranges(built: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (layer name, {"min_var", "max_var"}) for the range inside each layer, of what comes to its function."""
    for wrapper in _wrappers(built):
        for activation in wrapper._quantize_activations:
            if hasattr(activation, "_pre_activation_vars"):
                yield wrapper.layer.name, activation._pre_activation_vars


def _before_function(layer: Any) -> Any:
    """Return the symbolic tensor that comes to the activation function inside a layer of the float model."""
    bare = type(layer).from_config({**layer.get_config(), "name": f"{layer.name}_bare", "activation": "linear"})
    values = bare(layer.input)
    bare.set_weights(layer.get_weights())
    return values


def _replace_range_quantizers(built: Any, replace: Callable[[Any], Any]) -> None:
    for layer in built.layers:
        if type(layer).__name__ == "QuantizeLayer":
            layer.quantizer = replace(layer.quantizer)
    for wrapper in _wrappers(built):
        wrapper._output_quantizers = [replace(one) for one in wrapper._output_quantizers]
        for activation in wrapper._quantize_activations:
            activation.quantizer = replace(activation.quantizer)


class _Frozen:
    """A quantizer whose range no longer follows what it sees."""

    def __init__(self, quantizer: Any) -> None:
        self.quantizer = quantizer

    def __call__(self, inputs: Any, training: bool, weights: Any, **kwargs: Any) -> Any:  # noqa: ARG002
        return self.quantizer(inputs, False, weights, **kwargs)


class _Apart:
    """A quantizer of what a float layer hands on, behind a detour through float64 that changes no value.

    TensorFlow's converter makes an int8 operator of every float one that has ranges on both sides, asked or not; it
    leaves alone what such a cast follows. `formats/tflite/detours.py` takes the casts out of the file.
    """

    def __init__(self, quantizer: Any) -> None:
        self._quantizer = quantizer

    def __call__(self, inputs: Any, training: bool, weights: Any, **kwargs: Any) -> Any:
        import tensorflow as tf

        return self._quantizer(tf.cast(tf.cast(inputs, tf.float64), tf.float32), training, weights, **kwargs)


# what TF-MOT's wrapper cannot call
_NOT_WRAPPED = ("MultiHeadAttention", "SlicingOpLambda", "TFOpLambda")


def _rounded(model: Any, left: Mapping[str, str]) -> set[str]:
    """Return the names of the layers that stay float and can round what they hand to an int8 layer behind them."""
    return {
        layer.name
        for layer in model.layers
        if layer.name in left
        and len(layer._inbound_nodes) == 1
        and not hasattr(layer, "layers")
        and type(layer).__name__ not in _NOT_WRAPPED
    }
