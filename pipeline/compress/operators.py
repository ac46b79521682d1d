"""Operators written between tensors (`x + y`, `tf.nn.relu(x)`) and the Keras layers that compute the same.

Keras keeps such an operator as a layer of its own kind (TFOpLambda), which TF-MOT cannot wrap.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.legacy_keras import load as load_keras

_MERGED = {
    "__operators__.add": "Add", "math.add": "Add", "math.subtract": "Subtract", "math.multiply": "Multiply",
    "math.maximum": "Maximum", "math.minimum": "Minimum",
}  # fmt: skip
_FUNCTIONS = {
    "nn.relu": "relu", "nn.silu": "swish", "nn.elu": "elu", "nn.softmax": "softmax", "math.sigmoid": "sigmoid",
    "nn.sigmoid": "sigmoid", "math.tanh": "tanh", "nn.tanh": "tanh",
}  # fmt: skip
_OPERANDS = ("x", "y", "features", "logits", "values", "input_tensor", "axis", "keepdims")


def symbol(layer: Any) -> str:
    """Return the name of the operator that a TFOpLambda is, below `tf.`."""
    return str(layer.symbol)


def known(layer: Any) -> bool:
    """Return whether a TFOpLambda that is called once computes what a layer of Keras' own computes."""
    (node,) = layer._inbound_nodes
    return _chosen(layer, *_operands(node.call_args, node.call_kwargs)) is not None


def written(layer: Any, name: str, args: Any, options: Mapping[str, Any]) -> Any:
    """Return what the layer in the place of a TFOpLambda makes of what that is called with; None if there is none.

    Args:
        layer: a TFOpLambda.
        name: of the layer that takes its place.
        args: symbolic tensors and constants, as it is called with.
        options: the same, by name.
    """
    operands, more = _operands(args, options)
    chosen = _chosen(layer, operands, more)
    if chosen is None:
        return None
    kind, settings = chosen
    tensors = [one for one in _flat(operands) if _is_tensor(one)]
    made = getattr(load_keras().layers, kind)(name=name, **settings)
    return made(tensors if kind in (*_MERGED.values(), "Concatenate") else tensors[0])


def _operands(args: Any, options: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Return what an operator computes with, in its order, and its other options that are set."""
    given = dict(options)
    ordered = [*args, *(given.pop(key) for key in _OPERANDS if key in given)]
    return ordered, {key: value for key, value in given.items() if value is not None}


def _chosen(layer: Any, operands: list[Any], more: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """Return the class of the layer that computes the same, and its options."""
    name = symbol(layer)
    if set(more) - {"name"}:
        return None
    match operands:
        case [tensor] if _is_tensor(tensor):
            if name == "math.negative":
                return "Rescaling", {"scale": -1.0}
            if name == "nn.relu6":
                return "ReLU", {"max_value": 6.0}
            return ("Activation", {"activation": _FUNCTIONS[name]}) if name in _FUNCTIONS else None
        case [one, other] if _is_tensor(one) and _is_tensor(other):
            alike = len(one.shape) == len(other.shape) > 1 and one.dtype == other.dtype == "float32"
            return (_MERGED[name], {}) if name in _MERGED and alike else None
        case [[*tensors], int(axis)] if name == "concat" and all(map(_is_tensor, tensors)) and axis != 0:
            return "Concatenate", {"axis": axis}
        case [tensor, axes, *keepdims] if name == "math.reduce_mean" and _is_tensor(tensor):
            if len(tensor.shape) != 4 or not isinstance(axes, (list, tuple)) or list(axes) != [1, 2]:
                return None
            return "GlobalAveragePooling2D", {"keepdims": bool(keepdims and keepdims[0])}
        case [one, other] if _is_tensor(one) or _is_tensor(other):
            return _scaled(name, one, other)
    return None


def _scaled(name: str, one: Any, other: Any) -> tuple[str, dict[str, Any]] | None:
    """Return the rescaling that an operator between a tensor and a number is."""
    import numpy as np

    number = np.asarray(other if _is_tensor(one) else one)
    if number.size != 1 or number.dtype.kind not in "iuf":
        return None
    value, first = float(number), _is_tensor(one)
    match name:
        case "__operators__.add" | "math.add":
            scale, offset = 1.0, value
        case "math.subtract":
            scale, offset = (1.0, -value) if first else (-1.0, value)
        case "math.multiply":
            scale, offset = value, 0.0
        case "math.truediv" if first and value:
            scale, offset = 1.0 / value, 0.0
        case _:
            return None
    return "Rescaling", {"scale": scale, "offset": offset}


def _is_tensor(one: Any) -> bool:
    return hasattr(one, "_keras_history")


def _flat(operands: list[Any]) -> list[Any]:
    return [inner for one in operands for inner in (one if isinstance(one, (list, tuple)) else [one])]
