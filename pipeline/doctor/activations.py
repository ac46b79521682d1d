"""The most memory that the tensors between a model's layers take at once, for one sample.

Layers run one after the other, and a tensor is kept until the last layer that reads it has run, as in the planners of
LiteRT and TFLM (David et al., 2021). What a converter makes part of the layer before it, or a view of its input, has no
tensor of its own. Space that a kernel needs inside itself is not counted.
"""

from __future__ import annotations

import math
from typing import Any

# their output is their input's memory, or they are folded into the layer before
_IN_PLACE = frozenset(
    {"Activation", "ActivityRegularization", "AlphaDropout", "BatchNormalization", "Dropout", "Flatten",
     "GaussianDropout", "GaussianNoise", "Identity", "ReLU", "Reshape", "SpatialDropout1D", "SpatialDropout2D",
     "SpatialDropout3D"}
)  # fmt: skip


def peak(model: Any) -> int | None:
    """Return the most values (not bytes) that live at once; None where a shape or the graph is not known."""
    by_depth = getattr(model, "_nodes_by_depth", None)
    if not by_depth:
        return None
    nodes = [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]
    place: dict[int, int] = {}  # tensor -> the memory that it lies in, named by the tensor that had it first
    sizes: dict[int, int] = {}
    made: list[list[int]] = []  # at each step
    last: dict[int, int] = {}  # memory -> the last step that needs it
    for step, node in enumerate(nodes):
        made.append([])
        given = [place[id(one)] for one in node.keras_inputs if id(one) in place]
        for tensor in _flat(node.outputs):
            memory = given[0] if given and type(node.layer).__name__ in _IN_PLACE else id(tensor)
            place[id(tensor)] = memory
            if memory == id(tensor):
                if any(dimension is None for dimension in tensor.shape[1:]):
                    return None
                sizes[memory] = math.prod(tensor.shape[1:])
                made[-1].append(memory)
        last |= dict.fromkeys([*given, *made[-1]], step)
    last |= {place[id(end)]: len(nodes) for end in model.outputs}
    most = live = 0
    for step, new in enumerate(made):
        live += sum(sizes[memory] for memory in new)
        most = max(most, live)
        live -= sum(size for memory, size in sizes.items() if last[memory] == step)
    return most


def _flat(found: Any) -> list[Any]:
    return list(found) if isinstance(found, (list, tuple)) else [found]
