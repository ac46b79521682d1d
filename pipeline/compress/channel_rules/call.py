"""One call of a layer, what a rule says of it, and what all rules share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.compress.channel_ids import Axes, Axis, ChannelIds, Ids

# a path of keys in a layer's config -> the ids whose number it holds, or a shape whose entries may be such ids
Sizes = dict[tuple[str, ...], "Ids | tuple[Ids | int | None, ...]"]


# functions inside layers that look at each number by itself
ELEMENTWISE = frozenset((
    "linear", "relu", "relu6", "sigmoid", "tanh", "elu", "selu", "gelu", "swish", "silu", "softplus", "softsign",
    "exponential", "hard_sigmoid", "leaky_relu", "mish",
))  # fmt: skip


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


def stop(call: Call, ids: ChannelIds, reason: str) -> Layout:
    """Keep all that a layer is given; what it answers cannot change either."""
    for axes in call.inputs:
        ids.keep(axes, f"{call.name} reads them: {reason}")
    return Layout(tuple((None,) * len(shape) for shape in call.output_shapes))


def channel(call: Call) -> int:
    """Return the place of the channel axis in a sample's axes."""
    first = getattr(call.layer, "data_format", None) == "channels_first"
    return 0 if first else len(call.x) - 1


def keep_others(call: Call, ids: ChannelIds, at: int) -> None:
    others = [axis for place, axis in enumerate(call.x) if place != at]
    ids.keep(others, f"{call.name} takes them for places, not for channels")


def keep_unless_elementwise(call: Call, ids: ChannelIds, out: Axis, layer: Any = None) -> None:
    """Keep the channels that a function inside a layer mixes with each other."""
    for key in ("activation", "recurrent_activation"):
        function = getattr(layer or call.layer, key, None)
        name = str(getattr(function, "__name__", "")) if function is not None else "linear"
        if name not in ELEMENTWISE:
            ids.keep([out], f"the function {name or 'inside'} of {call.name} looks at all channels at once")


def placed(call: Call, at: int, ids: Axis) -> Axes:
    """Return the axes of an output that has channels at one place of as many axes as the input."""
    return tuple(ids if place == at else None for place in range(len(call.x)))


def with_bias(layer: Any, weights: list[tuple[Any, Axes]], out: Ids) -> list[tuple[Any, Axes]]:
    return [*weights, (layer.bias, (out,))] if layer.use_bias else weights


def even(channels: Ids, groups: int, ids: ChannelIds) -> Ids:
    """Let each of some groups lose as many channels as the others: those at the same place in it."""
    first, *others = channels.reshape(groups, -1)
    for other in others:
        ids.unite(first, other)
    return channels
