"""int8 activations of a QDQ graph as uint8, for ONNX Runtime's kernels on x86 take uint8 activations and int8 weights.

q with zero point z in int8 and q + 128 with z + 128 in uint8 mean the same number, and both types end at the same ones:
each QuantizeLinear and DequantizeLinear computes what it did, to the bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.formats.onnx.walking import bodies, every_node, initializers

# They move integers or choose the largest, whatever these mean; ONNX Runtime has each for both types.
_MOVING = frozenset({
    "Concat", "Expand", "Flatten", "Gather", "Identity", "MaxPool", "ReduceMax", "Reshape", "Slice", "Split", "Squeeze",
    "Tile", "Transpose", "Unsqueeze",
})  # fmt: skip
_INT8 = 3  # of onnx.TensorProto.DataType


def activations(proto: Any) -> None:
    """Make the int8 activations of a model uint8; its weights and its ends stay as they are.

    What is quantized stays int8, too, where it meets a constant, an end, the body of a loop, or another operator than
    those that move integers, before it is dequantized.

    Args:
        proto: onnx.ModelProto in canonical form, whose names are unique in all its bodies; it is changed.
    """
    import onnx

    nodes, constants = every_node(proto.graph), {item.name: item for item in initializers(proto.graph)}
    signed = _signed(onnx.shape_inference.infer_shapes(proto).graph)
    quantizing: list[tuple[Any, str]] = []  # nodes with a zero point, and what it is the zero point of
    together: list[set[str]] = []  # tensors that are of one type
    fixed = {*constants, *_ends(proto.graph)}
    for node in nodes:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            (name,) = node.output if node.op_type == "QuantizeLinear" else node.input[:1]
            if name in signed:
                quantizing.append((node, name))
            continue
        touched = signed & {*node.input, *node.output}
        together.append(touched)
        if node.op_type not in _MOVING:
            fixed |= touched
        for body in bodies(node):
            fixed |= _ends(body)
    while reached := set().union(*(names for names in together if names & fixed)) - fixed:
        fixed |= reached

    made: dict[str, Any] = {}
    for node, name in quantizing:
        if name not in fixed:
            given = node.input[2] if len(node.input) == 3 else ""
            if given not in made:
                zero = onnx.numpy_helper.to_array(constants[given]) if given else np.int8(0)
                unsigned = (zero.astype(np.int16) + 128).astype(np.uint8)
                made[given] = onnx.numpy_helper.from_array(np.asarray(unsigned), f"{given}.unsigned")
            node.input[2:] = [made[given].name]
    proto.graph.initializer.extend(made.values())


def own_zero_points(proto: Any) -> None:
    """Give each of the int8 weights of a model a zero point of its own, which the .tflite's share.

    With `session.x64quantprecision`, which x86 without VNNI needs (docs/onnx.md), ONNX Runtime makes weights uint8,
    too, and fails to load a file in which two of them share a zero point.

    Args:
        proto: onnx.ModelProto in canonical form; it is changed.
    """
    constants = {item.name: item for item in initializers(proto.graph)}
    taken: set[str] = set()
    for node in every_node(proto.graph):
        weights = constants.get(node.input[0]) if node.op_type == "DequantizeLinear" and len(node.input) == 3 else None
        if weights is None or weights.data_type != _INT8 or node.input[2] not in constants:
            continue
        if node.input[2] in taken:
            own = proto.graph.initializer.add()
            own.CopyFrom(constants[node.input[2]])
            own.name = node.input[2] = f"{node.input[2]}.{len(taken)}"
        taken.add(node.input[2])


def _signed(graph: Any) -> set[str]:
    """Return the int8 tensors of a graph and of all bodies in it."""
    ends = (*graph.input, *graph.output, *graph.value_info)
    own = {end.name for end in ends if end.type.tensor_type.elem_type == _INT8}
    own |= {item.name for item in graph.initializer if item.data_type == _INT8}
    return own.union(*(_signed(body) for node in graph.node for body in bodies(node)))


def _ends(graph: Any) -> set[str]:
    return {end.name for end in (*graph.input, *graph.output)}
