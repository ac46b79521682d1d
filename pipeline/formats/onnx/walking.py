"""Walks over an ONNX graph, and over the bodies of its loops and branches."""

from __future__ import annotations

from typing import Any


def bodies(node: Any) -> list[Any]:
    """Return the graphs within a node: a loop's body, the branches of a condition."""
    return [attribute.g for attribute in node.attribute if attribute.HasField("g")]


def every_node(graph: Any) -> list[Any]:
    """Return the nodes of a graph and of all bodies in it."""
    return [*graph.node, *(inner for node in graph.node for body in bodies(node) for inner in every_node(body))]


def initializers(graph: Any) -> list[Any]:
    """Return the initializers of a graph and of all bodies in it."""
    return [*graph.initializer, *(item for node in graph.node for body in bodies(node) for item in initializers(body))]


# what multiplies with weights, or looks them up
_WEIGHTED = ("Conv", "ConvTranspose", "MatMul", "Gemm", "Einsum", "LSTM", "GRU", "RNN")


def inner(graph: Any) -> set[str]:
    """Return the names of the nodes from the first to the last one with weights.

    Left out is what comes before, which scales raw values, and what comes after, which makes answers of the network's.
    The bodies of loops and branches count as what they stand in.
    """
    floats = {item.name for item in graph.initializer if item.data_type == 1 and len(item.dims) >= 2}

    def weighted(node: Any) -> bool:
        found = [node, *(inner for body in bodies(node) for inner in every_node(body))]
        return any(one.op_type in _WEIGHTED or (one.op_type == "Gather" and one.input[0] in floats) for one in found)

    def reads(node: Any) -> set[str]:
        inside = (inner for body in bodies(node) for inner in every_node(body))
        return {*node.input, *(name for one in inside for name in one.input)}

    with_weights = [node for node in graph.node if weighted(node)]
    behind = {name for node in with_weights for name in node.output}
    before = {name for node in with_weights for name in reads(node)}
    for node in graph.node:  # in the order in which they run
        if reads(node) & behind:
            behind |= set(node.output)
    for node in reversed(graph.node):
        if set(node.output) & before:
            before |= reads(node)
    inside = [
        node for node in graph.node if weighted(node) or (set(node.output) & before and set(node.output) & behind)
    ]
    return {
        one.name for node in inside for one in (node, *(held for body in bodies(node) for held in every_node(body)))
    }
