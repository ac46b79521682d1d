"""Which operators of a .tflite LiteRT handed to XNNPACK, read from an interpreter that runs it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# a node that the runtime adds for operators that a delegate took; LiteRT's Python package has no delegate but XNNPACK
_ADDED = "DELEGATE"


@dataclass(frozen=True)
class Delegated:
    """What became of the operators of the main graph; of those in the bodies of loops and branches nothing is told.

    Attributes:
        operators: in the main graph.
        taken: how many of them XNNPACK computes.
        partitions: into how many pieces, between which LiteRT's own kernels run.
        left: the kinds of those that LiteRT's own kernels compute, with how many there are of each.
    """

    operators: int
    taken: int
    partitions: int
    left: Mapping[str, int] = field(default_factory=dict)


def delegated(interpreter: Any) -> Delegated:
    """Return what an `ai_edge_litert` interpreter whose tensors are allocated runs by XNNPACK."""
    return of_nodes(interpreter._get_ops_details())


def of_nodes(nodes: Sequence[Mapping[str, Any]]) -> Delegated:
    """Return the same of a graph's nodes: those of the file, in their order, and one for each piece that was taken.

    A node that was added names the tensors that go into its piece and come out of it. What makes the latter from the
    former is what was taken.

    Args:
        nodes: each with `op_name`, and `inputs` and `outputs`, numbers of tensors, -1 for one that is not there.
    """
    own = [node for node in nodes if node["op_name"] != _ADDED]
    added = [node for node in nodes if node["op_name"] == _ADDED]
    makers = {tensor: place for place, node in enumerate(own) for tensor in _tensors(node, "outputs")}
    taken: set[int] = set()
    for piece in added:
        given, coming = set(_tensors(piece, "inputs")), _tensors(piece, "outputs")
        while coming:
            tensor = coming.pop()
            if tensor not in given and makers.get(tensor, -1) not in {-1, *taken}:
                taken.add(makers[tensor])
                coming += _tensors(own[makers[tensor]], "inputs")
    left = Counter(node["op_name"] for place, node in enumerate(own) if place not in taken)
    return Delegated(len(own), len(taken), len(added), dict(left.most_common()))


def _tensors(node: Mapping[str, Any], end: str) -> list[int]:
    return [int(tensor) for tensor in node[end] if tensor >= 0]
