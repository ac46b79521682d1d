"""Layers and operations that compute element by element, of one tensor or of several, and those that only seem to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.compress import support
from pipeline.compress.channel_ids import Axes, Axis, ChannelIds
from pipeline.compress.channel_rules.call import ELEMENTWISE, Call, Layout, stop

ELEMENTWISE_OPERATIONS = frozenset((
    "__operators__.add", "math.add", "math.subtract", "math.multiply", "math.maximum", "math.minimum", "nn.relu",
    "nn.relu6", "nn.sigmoid", "math.sigmoid", "nn.tanh", "math.tanh", "nn.swish", "nn.silu", "nn.gelu", "nn.elu",
    "nn.leaky_relu", "nn.selu", "clip_by_value", "identity", "cast",
))  # fmt: skip
REDUCTIONS = frozenset(f"math.reduce_{name}" for name in ("mean", "sum", "max", "min"))


def elementwise(call: Call, ids: ChannelIds) -> Layout:
    """Whatever computes each number by itself; a dropout may name widths in the shape of its noise."""
    if any(size not in (None, 1) for size in getattr(call.layer, "noise_shape", None) or ()):
        return stop(call, ids, "it has noise of a shape of its own")
    return Layout((call.x,))


def activation(call: Call, ids: ChannelIds) -> Layout:
    """Activation, by its function."""
    name = support.function(call.layer)
    if name not in ELEMENTWISE:
        return stop(call, ids, f"the function {name} looks at all of them at once")
    return Layout((call.x,))


def softmax(call: Call, ids: ChannelIds) -> Layout:
    """Softmax: the axis whose shares it makes stays whole."""
    listed = call.layer.axis if isinstance(call.layer.axis, (list, tuple)) else [call.layer.axis]
    for axis in listed:
        ids.keep([call.x[axis - 1 if axis > 0 else axis]], f"{call.name} makes shares of all of them")
    return Layout((call.x,))


def rescaling(call: Call, ids: ChannelIds) -> Layout:
    """Rescaling by one number."""
    numbers = (call.layer.scale, call.layer.offset)
    if any(np.ndim(number) for number in numbers):
        return stop(call, ids, "it has numbers of its own for each of them, which are no weights")
    return Layout((call.x,))


def merge(call: Call, ids: ChannelIds) -> Layout:
    """Add, Multiply and the like."""
    return Layout((_merged(call, call.inputs, call.shapes, ids),))


def _merged(
    call: Call, inputs: Sequence[Axes], shapes: Sequence[tuple[int | None, ...]], ids: ChannelIds
) -> Axes:  # fmt: skip
    """Return the axes of what is computed element by element from several tensors, some of them broadcast."""
    rank = max(len(axes) for axes in inputs)
    out: list[Axis] = []
    for place in range(-rank, 0):
        there = [(axes[place], shape[place]) for axes, shape in zip(inputs, shapes, strict=True) if len(axes) >= -place]
        wide = [axis for axis, size in there if size != 1] or [axis for axis, _ in there]
        found = wide[0]
        for axis in wide[1:]:
            found = ids.same(found, axis, f"{call.name} computes them together with others that stay")
        out.append(found)
    return tuple(out)


def operation(call: Call, ids: ChannelIds) -> Layout:
    """An operator or function of TensorFlow's that the model calls directly."""
    symbol = str(call.layer.symbol).removeprefix("tf.")
    constants = [one for one in (*call.arguments, *call.options.values()) if not _is_tensor(one)]
    if symbol in ELEMENTWISE_OPERATIONS and all(np.ndim(one) == 0 for one in constants if one is not None):
        return Layout((_merged(call, call.inputs, call.shapes, ids),))
    if symbol in REDUCTIONS and len(call.inputs) == 1:
        return _reduction(call, ids)
    return stop(call, ids, f"the operation {symbol} is not followed")


def _is_tensor(value: Any) -> bool:
    return hasattr(value, "_keras_history")


def _reduction(call: Call, ids: ChannelIds) -> Layout:
    given = dict(zip(("input_tensor", "axis", "keepdims"), call.arguments, strict=False)) | dict(call.options)
    listed = given.get("axis")
    if listed is None:
        return stop(call, ids, "it makes one number of all of them")
    rank = len(call.x) + 1
    axes = {int(axis) % rank - 1 for axis in np.ravel(listed)}
    if -1 in axes:
        return stop(call, ids, "it computes over samples")
    ids.keep([call.x[place] for place in axes], f"{call.name} makes one number of all of them")
    kept = [None if place in axes else axis for place, axis in enumerate(call.x)]
    if not given.get("keepdims"):
        kept = [axis for place, axis in enumerate(kept) if place not in axes]
    return Layout((tuple(kept),))
