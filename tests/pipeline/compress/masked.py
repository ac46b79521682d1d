"""What channel removal has to equal: the original model with the removed channels held at zero, evaluated node by node.

Nothing here reads the channel graph. Which channels a layer no longer makes is found by looking its smaller weights up
in the original ones (`random_models.fill` makes all values of a weight distinct); which positions are gone behind
layers that make no channels is found by running those layers on the mask itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.legacy_keras import load as load_keras

# the weight whose axis holds what a layer makes
MADE: dict[str, tuple[str, int]] = {
    "Dense": ("kernel", -1), "Conv1D": ("kernel", -1), "Conv2D": ("kernel", -1), "Conv3D": ("kernel", -1),
    "Conv1DTranspose": ("kernel", -2), "Conv2DTranspose": ("kernel", -2), "Conv3DTranspose": ("kernel", -2),
    "SeparableConv1D": ("pointwise_kernel", -1), "SeparableConv2D": ("pointwise_kernel", -1),
    "Embedding": ("embeddings", 1), "LSTM": ("recurrent_kernel", 0), "GRU": ("recurrent_kernel", 0),
    "SimpleRNN": ("recurrent_kernel", 0),
}  # fmt: skip
_EACH = (
    "Activation", "ReLU", "LeakyReLU", "ELU", "PReLU", "ThresholdedReLU", "Dropout", "GaussianNoise", "GaussianDropout",
    "AlphaDropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "ActivityRegularization",
    "BatchNormalization", "Identity", "Rescaling",
)  # fmt: skip
_MOVE = (
    "Flatten", "Reshape", "Permute", "Concatenate", "RepeatVector", "Cropping", "UpSampling", "Pooling",
    "SlicingOpLambda",
)  # fmt: skip
_MEET = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum")
_MOVING_OPERATORS = ("reduce_", "concat", "reshape", "transpose", "expand_dims", "squeeze", "slice", "pad", "tile")


class MixedError(AssertionError):
    """Removed channels meet channels that stay in one position."""


def outputs(model: Any, small: Any, samples: Sequence[Any]) -> list[np.ndarray]:
    """Return the outputs of `model` on samples, with what `small` no longer makes held at zero.

    Args:
        model: the original; its weights are the same again afterwards.
        small: the model without the channels.
        samples: one array for each input, [batch, ...].

    Raises:
        MixedError: an output, or a layer that reads all of its input, would have to do without some of it.
    """
    import tensorflow as tf

    values = {id(end): tf.constant(each) for end, each in zip(model.inputs, samples, strict=True)}
    masks = {id(end): np.ones(end.shape[1:], bool) for end in model.inputs}
    before = model.get_weights()
    for layer in model.layers:
        _forget(layer, small.get_layer(layer.name))
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            if not node.is_input:
                _run(node, small.get_layer(node.layer.name), values, masks)
    model.set_weights(before)
    for end in model.outputs:
        if not masks[id(end)].all():
            raise MixedError(f"channels of the output {end.name} were removed")
    return [values[id(end)].numpy() for end in model.outputs]


def kept(weight: Any, smaller: Any, axis: int) -> np.ndarray:
    """Return which positions along an axis of a weight are still in the smaller one, by their values."""
    original, rest = np.asarray(weight), np.moveaxis(np.asarray(smaller), axis, 0)
    firsts = rest.reshape(len(rest), -1)[:, 0]
    flat = original.ravel()
    order = np.argsort(flat)
    at = order[np.searchsorted(flat, firsts, sorter=order).clip(max=flat.size - 1)]
    if not np.array_equal(flat[at], firsts):
        raise AssertionError("a weight has values that the original has not")
    return np.unravel_index(at, original.shape)[axis]


def weight(layer: Any, name: str) -> np.ndarray:
    """Return the only weight of a layer whose name ends so."""
    found = [each for each in layer.weights if each.name.split(":")[0].endswith(name)]
    (only,) = [each for each in found if each.name.split(":")[0].split("/")[-1] == name] or found
    values: np.ndarray = only.numpy()
    return values


def _forget(layer: Any, smaller: Any) -> None:
    """Let units of recurrent layers and heads of attention that are gone say nothing to the others."""
    kind = type(layer).__name__
    if kind == "Bidirectional":
        _forget(layer.forward_layer, smaller.forward_layer)
        _forget(layer.backward_layer, smaller.backward_layer)
    elif kind in ("LSTM", "GRU", "SimpleRNN"):
        values = weight(layer, "recurrent_kernel").copy()
        values[~_made(layer, smaller)] = 0
        layer.cell.recurrent_kernel.assign(values)
    elif kind == "MultiHeadAttention":
        end, rest = layer._output_dense.kernel, smaller._output_dense.kernel
        values = np.zeros(end.shape, np.float32)
        inside = np.ix_(kept(end, rest, 0), kept(end, rest, 1))
        values[inside] = end.numpy()[inside]
        end.assign(values)


def _made(layer: Any, smaller: Any) -> np.ndarray:
    """Return which of the channels that a layer makes are still made, bool [channels]."""
    if type(layer).__name__ == "MultiHeadAttention":
        mask = np.zeros(layer._output_dense.kernel.shape[-1], bool)
        mask[kept(layer._output_dense.kernel, smaller._output_dense.kernel, -1)] = True
        return mask
    name, axis = MADE[type(layer).__name__]
    original = weight(layer, name)
    mask = np.zeros(original.shape[axis], bool)
    mask[kept(original, weight(smaller, name), axis)] = True
    return mask


def _run(node: Any, smaller: Any, values: dict[int, Any], masks: dict[int, np.ndarray]) -> None:
    import tensorflow as tf

    layer, read = node.layer, [masks[id(end)] for end in node.keras_inputs]
    args, kwargs = _arguments(node, values)
    ends = tf.nest.flatten(node.outputs)
    if _normalizes_channels(layer):
        found = [_normalized(layer, tf.nest.flatten(args)[0], read[0])]
    else:
        found = tf.nest.flatten(layer(*args, **kwargs))
    after = _masks(node, smaller, read)
    for end, value, mask in zip(ends, found, after, strict=True):
        if mask.all():
            values[id(end)], masks[id(end)] = value, np.ones(end.shape[1:], bool)
            continue
        values[id(end)] = tf.where(mask[np.newaxis], value, tf.zeros_like(value))
        masks[id(end)] = np.broadcast_to(mask, end.shape[1:])
        if getattr(value, "_keras_mask", None) is not None:
            values[id(end)]._keras_mask = value._keras_mask


def _arguments(node: Any, values: dict[int, Any]) -> tuple[Any, Any]:
    return node.map_arguments({str(id(end)): [values[id(end)]] * len(node.keras_inputs) for end in node.keras_inputs})


def _masks(node: Any, smaller: Any, read: list[np.ndarray]) -> list[np.ndarray]:
    """Return what of each output of a node is still there, by what is still there of its inputs."""
    layer, kind = node.layer, type(node.layer).__name__
    shapes = [tuple(end.shape[1:]) for end in _flat(node.outputs)]
    if kind == "TimeDistributed" and type(layer.layer).__name__ in MADE:
        return [np.broadcast_to(_made(layer.layer, smaller.layer), shape) for shape in shapes]
    if kind in MADE or kind == "MultiHeadAttention":
        return [np.broadcast_to(_made(layer, smaller), shape) for shape in shapes]
    if kind == "Bidirectional":
        sides = [
            _made(layer.forward_layer, smaller.forward_layer),
            _made(layer.backward_layer, smaller.backward_layer),
        ]
        if layer.merge_mode == "concat":
            sides = [np.concatenate(sides)]
        elif layer.merge_mode is not None:
            sides = [_agreed(layer.name, sides, sides[0].shape)]
        return [np.broadcast_to(side, shape) for side, shape in zip(sides, shapes, strict=True)]
    if kind.startswith("DepthwiseConv"):
        channels = read[0].reshape(-1, read[0].shape[-1])
        return [np.broadcast_to(np.repeat(channels[0], layer.depth_multiplier), shapes[0])]
    if all(mask.all() for mask in read):
        _unchanged(layer, smaller)
        return [np.ones(shape, bool) for shape in shapes]
    if kind in _EACH or _normalizes_channels(layer) or kind == "UnitNormalization":
        return [read[0]]
    if kind == "Softmax":
        if not np.array_equal(read[0].all(axis=layer.axis), read[0].any(axis=layer.axis)):
            raise MixedError(f"{layer.name} divides among channels some of which were removed")
        return [read[0]]
    if kind.startswith("ZeroPadding"):
        return [_padded(layer, read[0])]
    moves = kind == "TFOpLambda" and any(each in layer.symbol for each in _MOVING_OPERATORS)
    if moves or any(each in kind for each in _MOVE):
        return [_moved(node, read)]
    if kind in _MEET or kind == "TFOpLambda":
        return [_agreed(layer.name, read, shapes[0])]
    raise MixedError(f"channels were removed before {layer.name} ({kind})")


def _flat(ends: Any) -> list[Any]:
    return list(ends) if isinstance(ends, (list, tuple)) else [ends]


def _unchanged(layer: Any, smaller: Any) -> None:
    for one, other in zip(layer.weights, smaller.weights, strict=True):
        if not np.array_equal(one.numpy(), other.numpy()):
            raise AssertionError(f"{layer.name} reads and makes all of its channels, and its {one.name} was cut")


def _moved(node: Any, read: list[np.ndarray]) -> np.ndarray:
    """Run a layer that only moves, pools or joins values on a mask, and on its opposite."""
    import tensorflow as tf

    def seen(masks: list[np.ndarray]) -> np.ndarray:
        given = {
            id(end): tf.constant(mask[np.newaxis].astype(np.float32))
            for end, mask in zip(node.keras_inputs, masks, strict=True)
        }
        args, kwargs = _arguments(node, given)
        found: np.ndarray = tf.nest.flatten(node.layer(*args, **kwargs))[0].numpy()[0] > 0
        return found

    there, gone = seen(read), seen([~mask for mask in read])
    if (there & gone).any():
        raise MixedError(f"{node.layer.name} mixes removed channels with others")
    return ~gone


def _padded(layer: Any, mask: np.ndarray) -> np.ndarray:
    """A frame belongs to the channels next to it."""
    around = layer.padding if isinstance(layer.padding[0], tuple) else (layer.padding,)
    first = getattr(layer, "data_format", "channels_last") == "channels_first"
    wide = [(0, 0), *around] if first else [*around, (0, 0)]
    return np.pad(mask, wide, mode="edge")


def _agreed(name: str, read: list[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """Return the mask of an elementwise layer, whose inputs lack the same, but for those spread over channels."""
    wide = [np.broadcast_to(mask, shape) for mask in read]
    found: np.ndarray = np.logical_and.reduce(wide)
    for mask, spread in zip(read, wide, strict=True):
        if not np.array_equal(spread, found) and not (mask.all() and mask.size < found.size):
            raise MixedError(f"{name} puts removed channels together with others")
    return found


def _normalizes_channels(layer: Any) -> bool:
    return type(layer).__name__ in ("LayerNormalization", "GroupNormalization")


def _normalized(layer: Any, x: Any, mask: np.ndarray) -> Any:
    """Normalize by the mean and variance of what is still there, float64; [batch, ...] as it comes."""
    import tensorflow as tf

    values, there = x.numpy().astype(np.float64), np.broadcast_to(mask, x.shape).astype(np.float64)
    if type(layer).__name__ == "GroupNormalization":
        groups = x.shape[-1] if layer.groups == -1 else layer.groups
        split = (*x.shape[:-1], groups, x.shape[-1] // groups)
        axes = tuple(place for place in range(1, len(split)) if place != len(split) - 2)
        shape = [1] * (x.shape.rank - 1) + [x.shape[-1]]
    else:
        split = tuple(x.shape)
        axes = tuple(axis % x.shape.rank for axis in layer.axis)
        shape = [size if place in axes else 1 for place, size in enumerate(x.shape)]
    values, there = values.reshape(split), there.reshape(split)
    count = np.maximum(there.sum(axes, keepdims=True), 1)
    mean = (values * there).sum(axes, keepdims=True) / count
    variance = (there * (values - mean) ** 2).sum(axes, keepdims=True) / count
    found = ((values - mean) / np.sqrt(variance + layer.epsilon)).reshape(x.shape)
    if layer.scale:
        found = found * layer.gamma.numpy().reshape(shape)
    if layer.center:
        found = found + layer.beta.numpy().reshape(shape)
    load_keras()
    return tf.constant(found.astype(np.float32))
