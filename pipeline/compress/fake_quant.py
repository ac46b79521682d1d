"""Quantization-aware training (Jacob et al., 2018) with TF-MOT, layer by layer: int8 weights and activations imitated
in float, such that zeros stay zeros and clusters clusters (PQAT, CQAT, PCQAT).

Weights are symmetric, per output channel in convolutions, activations asymmetric and per tensor, as LiteRT's 8-bit
specification has them. What differs from TF-MOT's own schemes:

* Ranges behind layers start at what the float model has on calibration samples. TF-MOT starts each at -6..6 and moves
  it by a thousandth a step, so that short trainings end with the ranges they started with.
* Zeros and clusters are kept by a projection after each step (`keeping`). TF-MOT's schemes for that bake masks into the
  exported graph, let zeros drift away and make whole 1x1 convolutions zero.
* Kernels that a ReLU layer follows without a batch normalization between are quantized; TF-MOT leaves them float.
* Rescaling has a quantize config, so that the first operator of the file is an integer one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from pipeline.compress import keeping, kernels, one_range, support
from pipeline.errors import InputError
from pipeline.legacy_keras import load as load_keras
from pipeline.legacy_keras import load_tfmot


def build(model: Any, clustered: Mapping[str, str] | None = None) -> Any:
    """Return a copy of a float model, weights included, that imitates int8 wherever `support` says it can.

    Its zeros and clusters stay while it is trained (PQAT, CQAT, PCQAT; see `keeping`).

    Args:
        model: plain layers, two-step layers split and batch normalizations behind dense layers folded
            (`splitting.split`, `folding.fold`).
        clustered: layer name -> how its kernels are clustered; those of others keep their zeros alone.

    Raises:
        InputError: no layer with a kernel can be quantized.
    """
    keras = load_keras()
    tfmot = load_tfmot()
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit.default_8bit_quantize_configs import (  # noqa: E501
        Default8BitOutputQuantizeConfig,
    )

    left = floating(model)
    if not any(kernels.of(layer) for layer in model.layers if layer.name not in left):
        raise InputError(
            "there is nothing to quantize in the model", expected="a layer with a kernel that TF-MOT can quantize",
            found="; ".join(f"{name}: {reason}" for name, reason in left.items()) or "no layer with a kernel",
            todo="leave the section quantize out: the int8 .tflite is then quantized after training",
        )  # fmt: skip

    def annotate(layer: Any) -> Any:
        copy = layer.__class__.from_config(layer.get_config())
        if type(layer).__name__ == "InputLayer" or layer.name in left:
            return copy
        own = Default8BitOutputQuantizeConfig() if type(layer).__name__ == "Rescaling" else None
        return tfmot.quantization.keras.quantize_annotate_layer(copy, own)

    annotated = keras.models.clone_model(model, clone_function=annotate)
    annotated.set_weights(model.get_weights())
    with tfmot.quantization.keras.quantize_scope():
        built = tfmot.quantization.keras.quantize_apply(annotated, _scheme(left, _rounded(model, left)))
    keeping.kept(model, clustered or {}, {_inner(layer).name: layer for layer in built.layers})
    for wrapper in _wrappers(built):
        if (clustered or {}).get(wrapper.layer.name) == keeping.TENSOR:
            wrapper._weight_vars = [
                (weight, one_range.OneRange(quantizer), ranges) for weight, quantizer, ranges in wrapper._weight_vars
            ]
    for layer in map(_inner, built.layers):
        if hasattr(layer, "finalize_state"):  # Normalization computes with constants that it makes of its weights
            layer.finalize_state()
    return built


def floating(model: Any) -> dict[str, str]:
    """Return layer name -> why it stays float, for every layer that quantization-aware training leaves alone."""
    return {
        layer.name: reason
        for layer in model.layers
        if type(layer).__name__ != "InputLayer" and (reason := support.floating(layer))
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


def calibrate(built: Any, model: Any, samples: np.ndarray) -> list[str]:
    """Start all ranges where the float model's are: of the input, of activations and of weights.

    Returns the names of the layers with a range that stays where TF-MOT starts it: one inside of the layer, before its
    function, which no output of the float model shows.

    Args:
        built: what `build` made of `model`.
        samples: raw samples float32 [n, *input_shape], n >= 1.
    """
    keras = load_keras()
    known = {layer.name for layer in model.layers}
    names = [name for name, _ in _activation_ranges(built) if name in known]
    probe = keras.Model(model.inputs, {name: model.get_layer(name).output for name in names})
    answers = probe.predict(samples, batch_size=256, verbose=0)
    for name, ranges in _activation_ranges(built):
        if name in answers:
            # zero is in every range, so that padding and ReLU are exact
            ranges["min_var"].assign(min(0.0, float(answers[name].min())))
            ranges["max_var"].assign(max(0.0, float(answers[name].max())))
    for layer in built.layers:
        if type(layer).__name__ == "QuantizeLayer":
            layer.quantizer(samples, True, layer.quantizer_vars)
    settle(built)
    return [
        wrapper.layer.name
        for wrapper in _wrappers(built)
        if (wrapper._output_quantizers and wrapper.layer.name not in known)
        or any(hasattr(activation, "_pre_activation_vars") for activation in wrapper._quantize_activations)
    ]


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
        if wrapper._output_quantizers:
            yield wrapper.layer.name, wrapper._output_quantizer_vars


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


def _scheme(left: Mapping[str, str], rounded: set[str]) -> Any:
    """Return TF-MOT's 8-bit scheme, mended where it drops the quantization of kernels or of what comes to them.

    Args:
        left: names of the layers that stay float.
        rounded: those of them whose output is rounded where an int8 layer takes it: that one would stay float, too.
    """
    from tensorflow_model_optimization.python.core.quantization.keras import quantize_aware_activation
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
        default_8bit_quantize_configs,
        default_8bit_quantize_layout_transform,
        default_8bit_quantize_registry,
        default_8bit_quantize_scheme,
    )

    class Layout(default_8bit_quantize_layout_transform.Default8BitQuantizeLayoutTransform):  # type: ignore[misc]
        def apply(self, model: Any, layer_quantize_map: Any) -> Any:
            transformed, configs = super().apply(model, layer_quantize_map)
            registry = default_8bit_quantize_registry.Default8BitQuantizeRegistry()
            for layer in transformed.layers:
                chosen = configs.get(layer.name, {}).get("quantize_config")
                # a pattern for Add, ReLU that also takes Conv2D, ReLU and Dense, ReLU, kernel and all
                if isinstance(chosen, default_8bit_quantize_configs.NoOpQuantizeConfig) and kernels.of(layer):
                    configs[layer.name]["quantize_config"] = registry.get_quantize_config(layer)
                    layer.activation = quantize_aware_activation.NoOpActivation()
            return transformed, configs

    class Registry(default_8bit_quantize_registry.Default8BitQuantizeRegistry):  # type: ignore[misc]
        def supports(self, layer: Any) -> bool:
            return layer.name in rounded or (layer.name not in left and super().supports(layer))

        def get_quantize_config(self, layer: Any) -> Any:
            if layer.name in rounded:
                return default_8bit_quantize_configs.Default8BitOutputQuantizeConfig()
            return super().get_quantize_config(layer)

    class Scheme(default_8bit_quantize_scheme.Default8BitQuantizeScheme):  # type: ignore[misc]
        def get_layout_transformer(self) -> Any:
            return Layout()

        def get_quantize_registry(self) -> Any:
            return Registry()

    return Scheme()
