"""A model is written in the layers that quantization-aware training knows, answering as before.

Each step makes equal layers of others: those of models inside, of operators, of what has several steps in one layer
(between which nothing could be rounded), of 1D layers, of batch normalizations that no convolution can take in.
"""

from __future__ import annotations

from typing import Any

from pipeline.compress import flattening, folding, lifting, operators, splitting, support
from pipeline.compress.rewriting import Call, rewrite
from pipeline.legacy_keras import load as load_keras

_CHAINED = ("Add", "Maximum", "Minimum", "Multiply")


def lower(model: Any, origins: dict[str, str] | None = None) -> tuple[Any, dict[str, str]]:
    """Return an equal model, weights included, of layers between which an int8 file rounds.

    What cannot be quantized (`support.floating`) stays as it is. A layer with a kernel keeps its name; what is new is
    called after the layer that it comes from.

    Args:
        model: functional or sequential; it is left as it is.
        origins: name of each new layer -> name of the model's layer that it comes from; it is added to.

    Returns:
        The model, and name of each layer that is not what it was -> what became of it, in words.
    """
    said: dict[str, str] = {}
    origins = {} if origins is None else origins

    def say(became: dict[str, str]) -> None:
        for name, words in became.items():
            said[name] = f"{said[name]}, then {words}" if name in said else words

    model, inside = flattening.flatten(model)
    origins.update({layer: name for name, layers in inside.items() for layer in layers})
    say({name: f"is written out: {', '.join(layers)}" for name, layers in inside.items()})
    model, single = _in_single_steps(model, origins)
    say(single)
    model, lifted = lifting.lift(model, origins)
    say({name: f"becomes a {kind}" for name, kind in lifted.items()})
    model, halves = splitting.split(model)
    origins.update({first: origins.get(name, name) for name, first in halves.items()})
    say({name: f"computes in two steps, and becomes {first} and {name}" for name, first in halves.items()})
    model, into = folding.fold(model)
    say({name: f"is folded into {dense}" for name, dense in into.items()})
    model, alone = _with_norms_as_convolutions(model, origins)
    say(dict.fromkeys(alone, "becomes a depthwise 1x1 convolution: it follows none that could take it in"))
    return model, said


def _in_single_steps(model: Any, origins: dict[str, str]) -> tuple[Any, dict[str, str]]:
    """Write operators as layers, and layers that compute in several steps, or at several places, as several."""
    if not any(_has_steps(layer) for layer in model.layers):
        return model, {}
    said: dict[str, str] = {}
    called: set[int] = set()

    def replace(call: Call) -> Any:
        layer, kind = call.layer, type(call.layer).__name__
        if support.floating(layer):
            return None
        if kind == "TFOpLambda":
            found = operators.written(layer, layer.name, call.args, call.options)
            said[layer.name] = f"becomes a layer, {type(found._keras_history.layer).__name__}"
            return found
        again = id(layer) in called
        called.add(id(layer))
        if kind == "Average" or (kind in _CHAINED and len(call.args[0]) > 2):
            said[layer.name] = "becomes a row of layers, each of which takes two"
            return _chain(call, kind, again)
        if again and kind != "InputLayer":  # without weights: `support` leaves others float
            name = call.free(layer.name)
            said[layer.name] = "is called at several places, and becomes a layer at each"
            return type(layer).from_config({**layer.get_config(), "name": name})(*call.args, **call.options)
        if kind != "Activation" and support.function(layer) not in support.INSIDE:
            function = support.function(layer)
            said[layer.name] = f"gives its function {function} away to a layer of its own"
            bare = type(layer).from_config({**layer.get_config(), "activation": "linear"})
            values = bare(*call.args, **call.options)
            bare.set_weights(layer.get_weights())
            return load_keras().layers.Activation(layer.activation, name=call.free(f"{layer.name}_{function}"))(values)
        return None

    written = rewrite(model, replace, origins)
    return (written, said) if said else (model, {})


def _has_steps(layer: Any) -> bool:
    """Return whether a layer may become several: a model is copied for these only, which takes its time."""
    kind = type(layer).__name__
    if kind in ("Average", "TFOpLambda") or len(layer._inbound_nodes) > 1:
        return True
    if kind in _CHAINED:
        return len(layer.input) > 2
    return kind != "Activation" and support.function(layer) not in support.INSIDE


def _chain(call: Call, kind: str, again: bool) -> Any:
    """Merge tensors two at a time; an average is their sum times a constant."""
    layers = load_keras().layers
    found, *others = call.args[0]
    name = call.free(call.layer.name) if again else call.layer.name
    merge = layers.Add if kind == "Average" else getattr(layers, kind)
    for place, other in enumerate(others, start=1):
        last = place == len(others) and kind != "Average"
        found = merge(name=name if last else call.free(f"{name}_{place}"))([found, other])
    return layers.Rescaling(1 / len(call.args[0]), name=name)(found) if kind == "Average" else found


def _with_norms_as_convolutions(model: Any, origins: dict[str, str]) -> tuple[Any, list[str]]:
    """Write batch normalizations that no layer before them can take in as depthwise 1x1 convolutions with a bias.

    The scales are int8 weights then, with one range as those of all depthwise convolutions, the shifts int32. Its
    statistics no longer move in training.
    """
    changed = [layer.name for layer in model.layers if _is_alone(layer)]
    if not changed:
        return model, []

    def replace(call: Call) -> Any:
        layer = call.layer
        if layer.name not in changed:
            return None
        layers = load_keras().layers
        (values,) = call.args
        *sides, channels = values.shape[1:]
        if len(sides) < 2:
            image = [*[1] * (2 - len(sides)), *(-1 if side is None else side for side in sides), channels]
            values = layers.Reshape(image, name=call.free(f"{layer.name}_image"))(values)
        made = layers.DepthwiseConv2D(1, name=layer.name, trainable=layer.trainable)
        values = made(values)
        scale, shift = folding.scale_and_shift(layer)
        made.set_weights([scale.reshape(1, 1, -1, 1), shift])
        if len(sides) < 2:
            back = [*(-1 if side is None else side for side in sides), channels]
            values = layers.Reshape(back, name=call.free(f"{layer.name}_values"))(values)
        return values

    return rewrite(model, replace, origins), changed


def _is_alone(layer: Any) -> bool:
    return type(layer).__name__ == "BatchNormalization" and not support.floating(layer) and not support.folds(layer)
