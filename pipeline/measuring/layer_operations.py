"""What the layers of a Keras model do with their weights, as runtimes see it: the part of a layer that can be timed.

A layer's operation includes what follows it alone and every runtime fuses with it, or runs at its width: batch
normalization, an addition, an activation. Layers that do the same with maps of the same size are one operation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

Kind = Literal["conv", "depthwise", "dense"]
# of Keras -> as they are timed; all others count as none
ACTIVATIONS = {"relu": "relu", "relu6": "relu6", "swish": "swish", "silu": "swish"}


@dataclass(frozen=True)
class Operation:
    """A convolution, a depthwise convolution, or a product with a matrix, for one sample.

    Attributes:
        size: height and width of the map that comes in; rows and 1 of a dense layer.
        kernel, strides, dilation: height and width each.
        same: whether the map is padded, so that strides alone make it smaller.
        norm: batch normalization follows.
        add: a tensor of its output's shape is added.
        activation: relu, relu6, swish or none.
    """

    kind: Kind
    size: tuple[int, int]
    kernel: tuple[int, int] = (1, 1)
    strides: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    same: bool = True
    bias: bool = True
    norm: bool = False
    add: bool = False
    activation: str = ""

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width of the map that comes out."""
        if self.kind == "dense":
            return self.size
        spans = [(kernel - 1) * rate for kernel, rate in zip(self.kernel, self.dilation, strict=True)]
        lost = (0, 0) if self.same else spans
        height, width = (
            math.ceil((side - less) / stride) for side, less, stride in zip(self.size, lost, self.strides, strict=True)
        )
        return height, width

    @property
    def pads(self) -> tuple[int, int, int, int]:
        """Zeros above, left, below and right of the map that comes in."""
        if not self.same:
            return 0, 0, 0, 0
        totals = [
            max((out - 1) * stride + (kernel - 1) * rate + 1 - side, 0)
            for out, stride, kernel, rate, side in zip(
                self.sides, self.strides, self.kernel, self.dilation, self.size, strict=True
            )
        ]
        return totals[0] // 2, totals[1] // 2, totals[0] - totals[0] // 2, totals[1] - totals[1] // 2

    def weights(self, inputs: int, outputs: int) -> int:
        """Return the number of weights in its kernel at these widths."""
        return math.prod(self.kernel) * (outputs if self.kind == "depthwise" else inputs * outputs)

    def macs(self, inputs: int, outputs: int) -> int:
        """Return the multiplications with weights for one sample at these widths."""
        return math.prod(self.sides) * self.weights(inputs, outputs)

    @property
    def name(self) -> str:
        """What it is, in a few words."""
        height, width = self.size
        parts = [self.kind] if self.kind == "dense" else [self.kind, "x".join(map(str, self.kernel))]
        parts += ["stride " + "x".join(map(str, self.strides))] if self.strides != (1, 1) else []
        parts += ["dilated " + "x".join(map(str, self.dilation))] if self.dilation != (1, 1) else []
        parts += [] if self.same else ["valid"]
        parts += ["no bias"] if not self.bias else []
        parts += [f"on {height}x{width}" if self.kind != "dense" else f"on {height} rows"]
        parts += ["norm"] if self.norm else []
        parts += ["add"] if self.add else []
        return ", ".join([" ".join(parts), *([self.activation] if self.activation else [])])


class UntimedError(Exception):
    """A layer has no operation that is known here; its text says why."""


def operations(model: Any) -> tuple[dict[str, tuple[Operation, ...]], dict[str, str]]:
    """Return layer -> what it does, in turn, and layer -> why what it does cannot be timed alone.

    Args:
        model: a built functional or sequential tf_keras model. Layers without multiplications are in neither.
    """
    from pipeline.measuring.macs import macs

    nodes: dict[str, list[Any]] = {}
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            nodes.setdefault(node.layer.name, []).append(node)
    order = {name: place for place, name in enumerate(nodes)}
    found, reasons = {}, {}
    for layer in macs(model).layers:
        if layer.macs == 0:
            continue
        try:
            if layer.name not in nodes:
                raise UntimedError("it is in a model within the model")
            if len(nodes[layer.name]) > 1:
                raise UntimedError("it is called at several places")
            (node,) = nodes[layer.name]
            listed = _of(node.layer, node)
            found[layer.name] = (*listed[:-1], _with_followers(listed[-1], node, nodes, order))
        except UntimedError as error:
            reasons[layer.name] = str(error)
    return found, reasons


def _of(layer: Any, node: Any) -> tuple[Operation, ...]:
    """Return a layer's operations, without what follows it."""
    kind = type(layer).__name__
    if kind == "Dense":
        rows = math.prod(_dims(node.input_shapes)[:-1])
        return (Operation("dense", (rows, 1), bias=layer.use_bias, activation=_activation(layer)),)
    if kind not in ("Conv1D", "Conv2D", "DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D"):
        raise UntimedError(f"{kind} is not among the kinds that are timed alone")
    if layer.data_format != "channels_last":
        raise UntimedError("its channels come first")
    if kind.startswith("Conv") and layer.groups > 1:
        raise UntimedError("its channels are in groups")
    height, width = _two(_dims(node.input_shapes)[:-1])
    convolution = Operation(
        "conv", (height, width), _two(layer.kernel_size), _two(layer.strides), _two(layer.dilation_rate),
        layer.padding != "valid", layer.use_bias, activation=_activation(layer),
    )  # fmt: skip
    if kind.startswith("Conv"):
        return (convolution,)
    if layer.depth_multiplier != 1:
        raise UntimedError("its depth_multiplier is not 1")
    if kind.startswith("Depthwise"):
        return (replace(convolution, kind="depthwise"),)
    first = replace(convolution, kind="depthwise", bias=False, activation="")
    return first, Operation("conv", first.sides, bias=layer.use_bias, activation=_activation(layer))


def _dims(shape: Any) -> tuple[int, ...]:
    if isinstance(shape, list) or any(side is None for side in shape[1:]):
        raise UntimedError("the shape of its input is not fixed")
    return tuple(int(side) for side in shape[1:])


def _two(sides: Sequence[int]) -> tuple[int, int]:
    height, width = (1, *sides) if len(sides) == 1 else sides
    return int(height), int(width)


def _activation(layer: Any) -> str:
    return ACTIVATIONS.get(getattr(getattr(layer, "activation", None), "__name__", ""), "")


def _with_followers(operation: Operation, node: Any, nodes: dict[str, list[Any]], order: dict[str, int]) -> Operation:
    """Return the operation with what follows the layer alone: normalization, an addition, an activation."""
    while True:
        after = [one for some in nodes.values() for one in some if node in one.parent_nodes]
        if len(after) != 1:
            return operation
        (follower,) = after
        kind, others = type(follower.layer).__name__, [one.layer.name for one in follower.parent_nodes if one != node]
        if kind == "BatchNormalization" and not (operation.norm or operation.add or operation.activation):
            operation = replace(operation, norm=True)
        elif kind == "Add" and not (operation.add or operation.activation) and _is_last(node, others, order):
            operation = replace(operation, add=True)
        elif kind in ("Activation", "ReLU") and not operation.activation:
            return replace(
                operation, activation=_relu(follower.layer) if kind == "ReLU" else _activation(follower.layer)
            )
        elif kind not in ("Dropout", "SpatialDropout1D", "SpatialDropout2D"):
            return operation
        node = follower


def _is_last(node: Any, others: list[str], order: dict[str, int]) -> bool:
    """Whether a node is the last to be computed of two that are added: the addition follows it."""
    return len(others) == 1 and order[others[0]] < order[node.layer.name]


def _relu(layer: Any) -> str:
    if layer.negative_slope or layer.threshold:
        return ""
    return "relu6" if layer.max_value == 6 else "relu"
