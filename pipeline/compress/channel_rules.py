"""How channels go through each kind of layer: which axes of its weights and outputs belong to which channels.

One function a family, one table of all kinds. A rule looks at shapes and settings alone. It says which positions are
the same channel (`ChannelIds.unite`) and what has to stay whole, with the reason (`ChannelIds.keep`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.compress import support
from pipeline.compress.channel_ids import Axes, Axis, ChannelIds, Ids, joined

# a path of keys in a layer's config -> the ids whose number it holds, or a shape whose entries may be such ids
Sizes = dict[tuple[str, ...], "Ids | tuple[Ids | int | None, ...]"]


@dataclass(frozen=True)
class Call:
    """One call of a layer.

    Attributes:
        inputs: axes of each Keras tensor that it is given, in the order of its node's `keras_inputs`.
        shapes: their shapes without the batch; None where a dimension is unknown.
        arguments, options: what it is called with, tensors in them as Keras' own.
        known: axes of every tensor so far, by its identity.
        output_shapes: as `shapes`.
    """

    layer: Any
    inputs: tuple[Axes, ...]
    shapes: tuple[tuple[int | None, ...], ...]
    arguments: tuple[Any, ...]
    options: Mapping[str, Any]
    known: Mapping[int, Axes]
    output_shapes: tuple[tuple[int | None, ...], ...]

    @property
    def x(self) -> Axes:
        """Axes of the first input."""
        return self.inputs[0]

    @property
    def name(self) -> str:
        """The layer's name and kind, for people."""
        return f"{self.layer.name} ({type(self.layer).__name__})"

    def axes_of(self, tensor: Any) -> Axes:
        """Return the axes of a tensor among the arguments."""
        return self.known[id(tensor)]


@dataclass
class Layout:
    """What a call says of its layer.

    Attributes:
        outputs: axes of each output.
        weights: (variable, axes) of each weight that has channels.
        sizes: the entries of its config that count channels.
        products: (number, axes) whose product its MACs are in proportion to, summed; empty where they are in
            proportion to its kernels.
    """

    outputs: tuple[Axes, ...]
    weights: list[tuple[Any, Axes]] = field(default_factory=list)
    sizes: Sizes = field(default_factory=dict)
    products: list[tuple[int, Axes]] = field(default_factory=list)


Rule = Callable[[Call, ChannelIds], Layout]


def layout(call: Call, ids: ChannelIds) -> Layout:
    """Return where a layer's channels are; one through which they cannot be followed keeps all that it is given."""
    reason = support.whole(call.layer)
    rule = RULES.get(type(call.layer).__name__)
    if reason or rule is None:
        return _stop(call, ids, reason or "channels are not followed through this kind of layer")
    return rule(call, ids)


def _stop(call: Call, ids: ChannelIds, reason: str) -> Layout:
    """Keep all that a layer is given; what it answers cannot change either."""
    for axes in call.inputs:
        ids.keep(axes, f"{call.name} reads them: {reason}")
    return Layout(tuple((None,) * len(shape) for shape in call.output_shapes))


def _channel(call: Call) -> int:
    """Return the place of the channel axis in a sample's axes."""
    first = getattr(call.layer, "data_format", None) == "channels_first"
    return 0 if first else len(call.x) - 1


def _keep_others(call: Call, ids: ChannelIds, at: int) -> None:
    others = [axis for place, axis in enumerate(call.x) if place != at]
    ids.keep(others, f"{call.name} takes them for places, not for channels")


def _keep_unless_elementwise(call: Call, ids: ChannelIds, out: Axis, layer: Any = None) -> None:
    """Keep the channels that a function inside a layer mixes with each other."""
    for key in ("activation", "recurrent_activation"):
        function = getattr(layer or call.layer, key, None)
        name = str(getattr(function, "__name__", "")) if function is not None else "linear"
        if name not in ELEMENTWISE:
            ids.keep([out], f"the function {name or 'inside'} of {call.name} looks at all channels at once")


def _placed(call: Call, at: int, ids: Axis) -> Axes:
    """Return the axes of an output that has channels at one place of as many axes as the input."""
    return tuple(ids if place == at else None for place in range(len(call.x)))


def _with_bias(layer: Any, weights: list[tuple[Any, Axes]], out: Ids) -> list[tuple[Any, Axes]]:
    return [*weights, (layer.bias, (out,))] if layer.use_bias else weights


def _convolution(call: Call, ids: ChannelIds) -> Layout:
    layer, at = call.layer, _channel(call)
    _keep_others(call, ids, at)
    places: Axes = (None,) * (len(call.x) - 1)
    given, groups = call.x[at], layer.groups
    width = call.shapes[0][at] or 0
    if groups > 1 and groups == width:  # a depthwise convolution by another name
        if given is None:
            given = ids.new(width)
            ids.keep([given], f"{call.name} gives each channel of its input, which stays, filters of its own")
        out = np.repeat(given, layer.filters // groups)
        weights = [(layer.kernel, (*places, None, out))]
        sizes: Sizes = {("filters",): out, ("groups",): given}
    else:
        out = _even(ids.new(layer.filters), groups, ids)
        inside = given if given is None or groups == 1 else _even(given, groups, ids)[: width // groups]
        weights = [(layer.kernel, (*places, inside, out))]
        sizes = {("filters",): out}
    _keep_unless_elementwise(call, ids, out)
    return Layout((_placed(call, at, out),), _with_bias(layer, weights, out), sizes)


def _even(channels: Ids, groups: int, ids: ChannelIds) -> Ids:
    """Let each of some groups lose as many channels as the others: those at the same place in it."""
    first, *others = channels.reshape(groups, -1)
    for other in others:
        ids.unite(first, other)
    return channels


def _transposed(call: Call, ids: ChannelIds) -> Layout:
    layer, at = call.layer, _channel(call)
    _keep_others(call, ids, at)
    out = ids.new(layer.filters)
    _keep_unless_elementwise(call, ids, out)
    kernel = (layer.kernel, (*(None,) * (len(call.x) - 1), out, call.x[at]))
    return Layout((_placed(call, at, out),), _with_bias(layer, [kernel], out), {("filters",): out})


def _depthwise(call: Call, ids: ChannelIds) -> Layout:
    layer, at = call.layer, _channel(call)
    _keep_others(call, ids, at)
    given = call.x[at]
    if given is None:
        given = ids.new(call.shapes[0][at] or 0)
        ids.keep([given], f"{call.name} gives each channel of its input, which stays, filters of its own")
    out = np.repeat(given, layer.depth_multiplier)
    _keep_unless_elementwise(call, ids, out)
    kernel = (layer.depthwise_kernel, (*(None,) * (len(call.x) - 1), given, None))
    return Layout((_placed(call, at, out),), _with_bias(layer, [kernel], out))


def _separable(call: Call, ids: ChannelIds) -> Layout:
    layer, at = call.layer, _channel(call)
    _keep_others(call, ids, at)
    places: Axes = (None,) * (len(call.x) - 1)
    given, out = call.x[at], ids.new(layer.filters)
    _keep_unless_elementwise(call, ids, out)
    between = None if given is None else np.repeat(given, layer.depth_multiplier)
    weights: list[tuple[Any, Axes]] = [
        (layer.depthwise_kernel, (*places, given, None)),
        (layer.pointwise_kernel, (*places, between, out)),
    ]
    return Layout((_placed(call, at, out),), _with_bias(layer, weights, out), {("filters",): out})


def _dense(call: Call, ids: ChannelIds) -> Layout:
    layer = call.layer
    out = ids.new(layer.units)
    _keep_unless_elementwise(call, ids, out)
    kernel = (layer.kernel, (call.x[-1], out))
    weights = _with_bias(layer, [kernel], out)
    # channels may also be among the places that the kernel is laid on
    return Layout(((*call.x[:-1], out),), weights, {("units",): out}, [(1, (*call.x, out))])


def _embedding(call: Call, ids: ChannelIds) -> Layout:
    out = ids.new(call.layer.output_dim)
    return Layout(((*call.x, out),), [(call.layer.embeddings, (None, out))], {("output_dim",): out})


def _normalization(call: Call, ids: ChannelIds) -> Layout:
    """A scale and an offset for each position of some axes; statistics over channels are then over those that stay."""
    layer = call.layer
    listed = layer.axis if isinstance(layer.axis, (list, tuple)) else [layer.axis]
    places = [axis - 1 if axis > 0 else len(call.x) + axis for axis in listed]
    axes = tuple(call.x[place] for place in places)
    names = ("gamma", "beta", "moving_mean", "moving_variance")
    found = [getattr(layer, name, None) for name in names]
    weights = [(weight, axes) for weight in found if weight is not None]
    if any(len(weight.shape) != len(axes) for weight, _ in weights):
        ids.keep(call.x, f"{call.name} has weights for several axes in one")
        return Layout((tuple(None for _ in call.x),))
    return Layout((call.x,), weights)


def _group_normalization(call: Call, ids: ChannelIds) -> Layout:
    found = _normalization(call, ids)
    layer = call.layer
    at = layer.axis - 1 if layer.axis > 0 else len(call.x) + layer.axis
    channels = call.x[at]
    if channels is not None:
        if layer.groups == len(channels):
            found.sizes[("groups",)] = channels
        else:
            _even(channels, layer.groups, ids)
    return found


def _prelu(call: Call, ids: ChannelIds) -> Layout:
    del ids
    shape = call.layer.alpha.shape
    axes = tuple(axis if size != 1 else None for axis, size in zip(call.x, shape, strict=True))
    return Layout((call.x,), [(call.layer.alpha, axes)])


def _elementwise(call: Call, ids: ChannelIds) -> Layout:
    del ids
    return Layout((call.x,))


def _activation(call: Call, ids: ChannelIds) -> Layout:
    name = support.function(call.layer)
    if name not in ELEMENTWISE:
        return _stop(call, ids, f"the function {name} looks at all of them at once")
    return Layout((call.x,))


def _softmax(call: Call, ids: ChannelIds) -> Layout:
    listed = call.layer.axis if isinstance(call.layer.axis, (list, tuple)) else [call.layer.axis]
    for axis in listed:
        ids.keep([call.x[axis - 1 if axis > 0 else axis]], f"{call.name} makes shares of all of them")
    return Layout((call.x,))


def _rescaling(call: Call, ids: ChannelIds) -> Layout:
    numbers = (call.layer.scale, call.layer.offset)
    if any(np.ndim(number) for number in numbers):
        return _stop(call, ids, "it has numbers of its own for each of them, which are no weights")
    return Layout((call.x,))


def _spatial(call: Call, ids: ChannelIds) -> Layout:
    """Places become fewer, more or other; channels stay what they are."""
    at = _channel(call)
    _keep_others(call, ids, at)
    return Layout((_placed(call, at, call.x[at]),))


def _global_pooling(call: Call, ids: ChannelIds) -> Layout:
    at = _channel(call)
    _keep_others(call, ids, at)
    return Layout((_placed(call, at, call.x[at]) if call.layer.keepdims else (call.x[at],),))


def _merge(call: Call, ids: ChannelIds) -> Layout:
    return Layout((merged(call, call.inputs, call.shapes, ids),))


def merged(
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


def _concatenate(call: Call, ids: ChannelIds) -> Layout:
    axis = call.layer.axis
    at = axis - 1 if axis > 0 else len(call.x) + axis
    out: list[Axis] = []
    for place in range(len(call.x)):
        there = [axes[place] for axes in call.inputs]
        if place == at:
            lengths = [shape[place] or 0 for shape in call.shapes]
            out.append(joined(there, lengths, ids, f"{call.name} has them beside others, and what makes them is fixed"))
            continue
        found = there[0]
        for one in there[1:]:
            found = ids.same(found, one, f"{call.name} has them beside others that stay")
        out.append(found)
    return Layout((tuple(out),))


def _reshape(call: Call, ids: ChannelIds) -> Layout:
    """Channels stay where each axis of the new shape belongs to them alone or not at all."""
    (shape,), (target,) = call.shapes, call.output_shapes
    places = [place for place, axis in enumerate(call.x) if axis is not None]
    if not places:
        return Layout((tuple(None for _ in target),))
    if len(places) > 1 or None in shape or None in target or getattr(call.layer, "data_format", "") == "channels_first":
        return _stop(call, ids, "it mixes them with places in a way that is not followed")
    (at,) = places
    channels = call.x[at]
    assert channels is not None
    known = [size or 0 for size in shape]
    spread = np.broadcast_to(channels.reshape([-1 if place == at else 1 for place in range(len(known))]), known)
    whole = spread.reshape([size or 0 for size in target])
    for place in range(whole.ndim):
        lined = np.moveaxis(whole, place, 0).reshape(whole.shape[place], -1)
        if (lined == lined[:, :1]).all():
            out = lined[:, 0].copy()
            axes = tuple(out if place == other else None for other in range(whole.ndim))
            return Layout((axes,), sizes=_target(call, axes))
    return _stop(call, ids, "it spreads them over several axes")


def _target(call: Call, axes: Axes) -> Sizes:
    if type(call.layer).__name__ != "Reshape":
        return {}
    entries = zip(call.layer.target_shape, axes, strict=True)
    return {("target_shape",): tuple(size if size == -1 or axis is None else axis for size, axis in entries)}


def _permute(call: Call, ids: ChannelIds) -> Layout:
    del ids
    return Layout((tuple(call.x[place - 1] for place in call.layer.dims),))


def _repeat(call: Call, ids: ChannelIds) -> Layout:
    del ids
    return Layout(((None, *call.x),))


def _recurrent(call: Call, ids: ChannelIds) -> Layout:
    return _recurrent_layer(call, ids, call.layer, "units")


def _recurrent_layer(call: Call, ids: ChannelIds, layer: Any, *path: str) -> Layout:
    """LSTM, GRU and SimpleRNN: a unit has a column for each gate, a row of what it remembers, and its states."""
    cell = layer.cell
    if not type(cell).__module__.startswith(("tf_keras.", "keras.")):
        return _stop(call, ids, "its cell's code is not Keras'")
    units = ids.new(layer.units)
    for name in ("activation", "recurrent_activation"):
        function = support.named(getattr(cell, name, None))
        if function not in ELEMENTWISE:
            ids.keep([units], f"the function {function} of {call.name} looks at all units at once")
    gates = np.tile(units, cell.kernel.shape[-1] // layer.units)
    weights: list[tuple[Any, Axes]] = [(cell.kernel, (call.x[-1], gates)), (cell.recurrent_kernel, (units, gates))]
    if layer.use_bias:
        weights.append((cell.bias, (*(None,) * (len(cell.bias.shape) - 1), gates)))
    for state in call.inputs[1:]:
        ids.same(units, state[-1], f"{call.name} begins with a state that stays")
    sequence: Axes = (None, units) if layer.return_sequences else (units,)
    states = ((units,),) * (len(call.output_shapes) - 1)
    return Layout((sequence, *states), weights, {path: units})


def _bidirectional(call: Call, ids: ChannelIds) -> Layout:
    layer = call.layer
    sides = (layer.forward_layer, layer.backward_layer)
    if len(call.inputs) > 1 or layer.return_state or any(type(one).__name__ not in RECURRENT for one in sides):
        return _stop(call, ids, "states of its own, or layers of other kinds, are not followed through it")
    ahead, back = (
        _recurrent_layer(call, ids, one, key, "config", "units")
        for one, key in zip(sides, ("layer", "backward_layer"), strict=True)
    )
    forth, backwards = ahead.outputs[0], back.outputs[0]
    ids.unite(_ids(forth[-1]), _ids(backwards[-1]))  # one number of units for both
    weights, sizes = ahead.weights + back.weights, ahead.sizes | back.sizes
    if layer.merge_mode is None:
        return Layout((forth, backwards), weights, sizes)
    if layer.merge_mode == "concat":
        forth = (*forth[:-1], np.concatenate([_ids(forth[-1]), _ids(backwards[-1])]))
    return Layout((forth,), weights, sizes)


def _ids(axis: Axis) -> Ids:
    assert axis is not None
    return axis


def _attention(call: Call, ids: ChannelIds) -> Layout:
    """MultiHeadAttention loses whole heads (Michel, Levy and Neubig, 2019), and channels of what it reads and gives."""
    layer = call.layer
    given = dict(zip(("query", "value", "key"), call.arguments, strict=False)) | dict(call.options)
    query, value = call.axes_of(given["query"]), call.axes_of(given["value"])
    key = value if given.get("key") is None else call.axes_of(given["key"])
    if len(query) != 2 or len(value) != 2 or len(key) != 2 or len(call.output_shapes) > 1:
        return _stop(call, ids, "attention over several axes, or its scores, are not followed")
    ids.keep([query[0], value[0], key[0]], f"{call.name} takes them for places, not for channels")
    heads, out = ids.new(layer._num_heads), ids.new(int(call.output_shapes[0][-1] or 0))
    weights: list[tuple[Any, Axes]] = []
    for read, axes in ((layer._query_dense, query), (layer._key_dense, key), (layer._value_dense, value)):
        weights.append((read.kernel, (axes[-1], heads, None)))
        weights += [(read.bias, (heads, None))] if layer._use_bias else []
    weights.append((layer._output_dense.kernel, (heads, None, out)))
    weights += [(layer._output_dense.bias, (out,))] if layer._use_bias else []
    sizes: Sizes = {("num_heads",): heads, ("output_shape",): (out,)}
    for name, axes, shape in (
        ("query_shape", query, layer._query_shape), ("value_shape", value, layer._value_shape),
        ("key_shape", key, layer._key_shape),
    ):  # fmt: skip
        sizes[(name,)] = (*shape[:-1], axes[-1] if axes[-1] is not None else shape[-1])
    return Layout(((query[0], out),), weights, sizes, _attended(layer, query[-1], key[-1], value[-1], heads, out))


def _attended(layer: Any, query: Axis, key: Axis, value: Axis, heads: Ids, out: Ids) -> list[tuple[int, Axes]]:
    """Return the products of attention: four projections, queries by keys, and shares by values."""
    (_, asked, *_), (_, keys, *_) = layer._query_shape, layer._key_shape
    inner, given = int(layer._key_dim), int(layer._value_dim)

    def projection(places: int | None, axis: Axis, read: Any) -> tuple[int, Axes]:
        size = read.kernel.shape[-1] * (read.kernel.shape[0] if axis is None else 1)
        return (places or 0) * int(size), (axis, heads)

    return [
        projection(asked, query, layer._query_dense), projection(keys, key, layer._key_dense),
        projection(keys, value, layer._value_dense), ((asked or 0) * given, (heads, out)),
        ((asked or 0) * (keys or 0) * (inner + given), (heads,)),
    ]  # fmt: skip


def _operation(call: Call, ids: ChannelIds) -> Layout:
    """An operator or function of TensorFlow's that the model calls directly."""
    symbol = str(call.layer.symbol).removeprefix("tf.")
    constants = [one for one in (*call.arguments, *call.options.values()) if not _is_tensor(one)]
    if symbol in ELEMENTWISE_OPERATIONS and all(np.ndim(one) == 0 for one in constants if one is not None):
        return Layout((merged(call, call.inputs, call.shapes, ids),))
    if symbol in REDUCTIONS and len(call.inputs) == 1:
        return _reduction(call, ids)
    return _stop(call, ids, f"the operation {symbol} is not followed")


def _is_tensor(value: Any) -> bool:
    return hasattr(value, "_keras_history")


def _reduction(call: Call, ids: ChannelIds) -> Layout:
    given = dict(zip(("input_tensor", "axis", "keepdims"), call.arguments, strict=False)) | dict(call.options)
    listed = given.get("axis")
    if listed is None:
        return _stop(call, ids, "it makes one number of all of them")
    rank = len(call.x) + 1
    axes = {int(axis) % rank - 1 for axis in np.ravel(listed)}
    if -1 in axes:
        return _stop(call, ids, "it computes over samples")
    ids.keep([call.x[place] for place in axes], f"{call.name} makes one number of all of them")
    kept = [None if place in axes else axis for place, axis in enumerate(call.x)]
    if not given.get("keepdims"):
        kept = [axis for place, axis in enumerate(kept) if place not in axes]
    return Layout((tuple(kept),))


def _distributed(call: Call, ids: ChannelIds) -> Layout:
    """TimeDistributed: the layer inside, for each step."""
    inner = call.layer.layer
    rule = RULES.get(type(inner).__name__)
    if rule is None or support.whole(inner) or len(call.inputs) != 1:
        return _stop(call, ids, "the layer inside is not followed")
    ids.keep(call.x[:1], f"{call.name} takes them for places, not for channels")
    within = Call(inner, (call.x[1:],), (call.shapes[0][1:],), (), {}, call.known, (call.output_shapes[0][1:],))
    found = rule(within, ids)
    sizes: Sizes = {("layer", "config", *path): size for path, size in found.sizes.items()}
    return Layout(((None, *found.outputs[0]),), found.weights, sizes)


RECURRENT = ("LSTM", "GRU", "SimpleRNN")
ELEMENTWISE = frozenset((
    "linear", "relu", "relu6", "sigmoid", "tanh", "elu", "selu", "gelu", "swish", "silu", "softplus", "softsign",
    "exponential", "hard_sigmoid", "leaky_relu", "mish",
))  # fmt: skip
ELEMENTWISE_OPERATIONS = frozenset((
    "__operators__.add", "math.add", "math.subtract", "math.multiply", "math.maximum", "math.minimum", "nn.relu",
    "nn.relu6", "nn.sigmoid", "math.sigmoid", "nn.tanh", "math.tanh", "nn.swish", "nn.silu", "nn.gelu", "nn.elu",
    "nn.leaky_relu", "nn.selu", "clip_by_value", "identity", "cast",
))  # fmt: skip
REDUCTIONS = frozenset(f"math.reduce_{name}" for name in ("mean", "sum", "max", "min"))

RULES: dict[str, Rule] = {
    **dict.fromkeys(("Conv1D", "Conv2D", "Conv3D"), _convolution),
    **dict.fromkeys(("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"), _transposed),
    **dict.fromkeys(("DepthwiseConv1D", "DepthwiseConv2D"), _depthwise),
    **dict.fromkeys(("SeparableConv1D", "SeparableConv2D"), _separable),
    "Dense": _dense,
    "Embedding": _embedding,
    **dict.fromkeys(RECURRENT, _recurrent),
    "Bidirectional": _bidirectional,
    "MultiHeadAttention": _attention,
    "TimeDistributed": _distributed,
    **dict.fromkeys(("BatchNormalization", "LayerNormalization"), _normalization),
    "GroupNormalization": _group_normalization,
    "PReLU": _prelu,
    "Activation": _activation,
    "Softmax": _softmax,
    "Rescaling": _rescaling,
    **dict.fromkeys(
        ("ActivityRegularization", "AlphaDropout", "Dropout", "ELU", "GaussianDropout", "GaussianNoise", "Identity",
         "LeakyReLU", "ReLU", "ThresholdedReLU", "UnitNormalization"), _elementwise,
    ),
    **{f"{kind}{n}D": _spatial
       for kind in ("AveragePooling", "Cropping", "MaxPooling", "SpatialDropout", "UpSampling", "ZeroPadding")
       for n in (1, 2, 3)},
    **{f"Global{kind}Pooling{n}D": _global_pooling for kind in ("Average", "Max") for n in (1, 2, 3)},
    **dict.fromkeys(("Add", "Average", "Maximum", "Minimum", "Multiply", "Subtract"), _merge),
    "Concatenate": _concatenate,
    "Flatten": _reshape,
    "Reshape": _reshape,
    "Permute": _permute,
    "RepeatVector": _repeat,
    "TFOpLambda": _operation,
}  # fmt: skip
