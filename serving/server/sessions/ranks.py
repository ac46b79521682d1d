"""Refuses a request whose ranks would kill the process (rule 3.4).

Shapes are the kernels' matter: nearly all of them compare, and what they say is answered. A few take the rank for
granted: a convolution of oneDNN ends the process on a tensor of rank 3, and reads past the end of one of rank 5. So
where a graph has such a kernel and the ranks fed are not those it was traced with, TensorFlow's own shape functions go
over the graph first, through the functions that it calls.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np
import tensorflow as tf

from serving.server.status import invalid

# Found by feeding all ranks to the kernels that TensorFlow 2.21 has for a CPU, in processes that may end. What kills by
# its sizes or its values at a right rank is not here: no shape function knows of it.
_DEADLY = frozenset(
    {
        "AvgPool3DGrad", "AvgPoolGrad", "Conv2D", "Conv2DBackpropFilter", "Conv2DBackpropInput", "Conv3D",
        "DepthwiseConv2dNative", "DepthwiseConv2dNativeBackpropFilter", "DepthwiseConv2dNativeBackpropInput",
        "FakeQuantWithMinMaxVarsPerChannel", "FakeQuantWithMinMaxVarsPerChannelGradient", "LSTMBlockCell",
        "LSTMBlockCellGrad", "MaxPool3D", "QuantizeAndDequantizeV3", "RaggedGather", "ScatterNd", "TensorScatterAdd",
        "TensorScatterMax", "TensorScatterMin", "TensorScatterSub", "TensorScatterUpdate", "Unbatch",
    }
)  # fmt: skip
# oneDNN has 12 dimensions; the kernels that take the place of x * sigmoid(x) and x * tanh(softplus(x)) count none
_DEADLY_BEYOND_ONEDNN = frozenset({"Sigmoid", "Softplus"})
_ONEDNN_RANK = 12
_BRANCHING = frozenset({"If", "StatelessIf", "Case", "StatelessCase"})
_LOOPING = frozenset({"While", "StatelessWhile"})
_UNREAD_BYTES = 4096  # a constant that is larger is no shape, axis or size: its value says nothing of other shapes
_REMEMBERED = 1024

_Shapes = tuple[tuple[str, tuple[int | None, ...]], ...]


class RankGuard:
    """Knows a graph; what it found for some ranks it remembers. From many threads at once.

    Args:
        graph: finished, as a session runs it.
    """

    def __init__(self, graph: Any) -> None:
        # no methods of its own: in a cycle, a graph that is closed would wait for a collection
        needed = lru_cache(_REMEMBERED)(partial(_needed, graph))
        self._refusal = lru_cache(_REMEMBERED)(partial(_refusal, graph, needed))

    def require_harmless(self, feeds: Mapping[str, np.ndarray], fetches: Sequence[str]) -> None:
        """Pass what the kernels answer, with an error or not.

        Args:
            feeds: tensor -> value, some of another rank than the graph says.
            fetches: tensors.

        Raises:
            StatusError: INVALID_ARGUMENT, a kernel could end the process.
        """
        needed = tuple(fetches)
        refusal = self._refusal(tuple((tensor, (None,) * value.ndim) for tensor, value in feeds.items()), needed)
        if refusal:
            raise invalid(_with_sizes(refusal, feeds.values()))


def _refusal(graph: Any, needed: Callable[..., Any], shapes: _Shapes, fetches: tuple[str, ...]) -> str | None:
    """Return why tensors of these shapes cannot be fed, or None where they can."""
    graph_def, operations = needed(fetches)
    rank = max((len(shape) for _, shape in shapes), default=0)
    if rank > _ONEDNN_RANK and operations & _DEADLY_BEYOND_ONEDNN:
        return f"this model cannot take tensors of more than {_ONEDNN_RANK} dimensions: {rank}"
    if not operations & _DEADLY:
        return None
    with tf.Graph().as_default():
        fed = {
            tensor: tf.compat.v1.placeholder(graph.get_tensor_by_name(tensor).dtype, shape, "fed")
            for tensor, shape in shapes
        }
        try:
            tf.import_graph_def(graph_def, input_map=fed, name="model")
        except ValueError as error:
            return _text(str(error))
    return None


def _needed(graph: Any, fetches: tuple[str, ...]) -> tuple[Any, frozenset[str]]:
    """Return the part of the graph that tensors need, prepared for its shapes, and the operations that it has."""
    whole = graph.as_graph_def()
    part = tf.compat.v1.graph_util.extract_sub_graph(whole, [name.partition(":")[0] for name in fetches])
    library = {function.signature.name: function for function in part.library.function}
    del part.library.function[:]
    called = list(_called(part.node, library))
    reached = set(called)
    operations = {node.op for node in part.node}
    _prepare(part.node, library)
    while called:
        function = library[called.pop()]
        new = _called(function.node_def, library) - reached
        reached |= new
        called.extend(new)
        operations |= {node.op for node in function.node_def}
        _prepare(function.node_def, library)
        part.library.function.append(function)
    return part, frozenset(operations)


def _called(nodes: Iterable[Any], library: Mapping[str, Any]) -> set[str]:
    """Return the names of the functions that nodes call or hold."""
    found = {node.op for node in nodes}
    for node in nodes:
        for value in node.attr.values():
            found |= {value.func.name, *(function.name for function in value.list.func)}
    return found & library.keys()


def _prepare(nodes: Any, library: Mapping[str, Any]) -> None:
    """Have the shape functions go into all functions, and leave out what they do not read."""
    for node in list(nodes):
        node.attr.pop("_output_shapes", None)
        node.attr.pop("_disable_call_shape_inference", None)
        if node.op == "Const" and node.ByteSize() > _UNREAD_BYTES:
            _stand_in(node, node.attr["value"].tensor.tensor_shape, node.attr["dtype"].type)
        elif node.op == "EnsureShape":  # its kernel compares: what comes after it gets this shape, or does not run
            _stand_in(node, node.attr["shape"].shape, node.attr["T"].type)
        elif node.op in _BRANCHING | _LOOPING:
            _call_bodies(nodes, node, library)


def _stand_in(node: Any, shape: Any, dtype: int) -> None:
    """Make a node one of which the shape functions know no more than this."""
    kept, name = type(shape).FromString(shape.SerializeToString()), node.name
    node.Clear()
    node.name, node.op = name, "Placeholder"
    node.attr["shape"].shape.CopyFrom(kept)
    node.attr["dtype"].type = dtype


def _call_bodies(nodes: Any, node: Any, library: Mapping[str, Any]) -> None:
    """Add calls of the bodies of a branch or a loop: its own shape function believes what it was declared with."""
    given = [name for name in node.input if not name.startswith("^")]
    arguments = given if node.op in _LOOPING else given[1:]
    bodies = [value.func for value in node.attr.values() if value.func.name in library]
    for value in node.attr.values():
        bodies.extend(value.list.func)
    for number, body in enumerate(bodies):
        signature = library[body.name].signature
        call = nodes.add(name=f"{node.name}/body_{number}", op="StatefulPartitionedCall", input=arguments)
        call.attr["f"].func.CopyFrom(body)
        call.attr["Tin"].list.type.extend(argument.type for argument in signature.input_arg)
        call.attr["Tout"].list.type.extend(argument.type for argument in signature.output_arg)


def _with_sizes(text: str, fed: Iterable[np.ndarray]) -> str:
    """Return a text about ranks with the sizes that were fed: the decision does not need them, so it is made once."""
    for value in fed:
        text = text.replace(f"[{','.join('?' * value.ndim)}]", f"[{','.join(map(str, value.shape))}]")
    return text


def _text(error: str) -> str:
    """Return the words of a kernel where it has some for a wrong rank, else those of the shape function."""
    match = re.search(r"= Conv2D\[.* with input shapes: (\[[^\]]*\])", error, re.DOTALL)
    return f"convolution input must be 4-dimensional: {match[1]}" if match else error
