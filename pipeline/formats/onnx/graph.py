"""What is in an .onnx: its kernels and its operators, read from the file without running it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.formats.onnx.walking import bodies, every_node, initializers
from pipeline.formats.operators import Operators, Way, count


def kernels(path: Path) -> dict[str, np.ndarray]:
    """Return the weight initializers of rank 2 and more, by name, as they are stored (QDQ: the integers).

    Where the integer that means 0 is another one, it is subtracted: int16.
    """
    import onnx

    graph = onnx.load(str(path)).graph
    found = {item.name: onnx.numpy_helper.to_array(item) for item in initializers(graph)}
    nodes = every_node(graph)
    # an Embedding's integers are looked up first, and what was found is dequantized
    tables = {node.output[0]: node.input[0] for node in nodes if node.op_type == "Gather"}
    for node in nodes:
        if node.op_type == "DequantizeLinear" and len(node.input) == 3:
            name = tables.get(node.input[0], node.input[0])
            values, zero = found.get(name), found.get(node.input[2])
            if values is None or values.dtype not in (np.int8, np.uint8):
                continue
            if zero is not None and zero.size == 1 and zero.item():
                found[name] = values.astype(np.int16) - np.int16(zero.item())
    # Shapes, paddings and indices are int32 or int64, and no weights.
    return {
        name: array
        for name, array in found.items()
        if array.ndim >= 2 and (array.dtype.kind == "f" or array.dtype in (np.int8, np.uint8, np.int16))
    }


def operators(path: Path) -> Operators:
    """Count the file's operators by the types of their tensors; what only handles shapes is among the kinds alone.

    In a QDQ file an operator between DequantizeLinear and QuantizeLinear is an integer one: a runtime may fuse the
    three. Whether ONNX Runtime has an integer kernel for it (it has none for ReduceMean), the file does not say.
    """
    import onnx

    # weights in other files (`external`) need not be read for that
    graph = onnx.shape_inference.infer_shapes(onnx.load(str(path), load_external_data=False)).graph
    nodes, types = every_node(graph), _types(graph)
    makers = {name: node for node in nodes for name in node.output}
    fused = _fused(graph, nodes, types, makers)
    found: list[tuple[str, Way | None]] = []
    for node in nodes:
        seen = {types.get(name) for name in (*node.input, *node.output)}
        # from floats to integers, and from float16 to float32
        casts = node.op_type == "Cast" and len(seen & (_FLOATS | _NARROW)) > 1
        if node.op_type in _CONVERSIONS or casts:
            found.append((node.op_type, "conversion"))
        elif bodies(node) or not {types.get(name) for name in node.output} & (_FLOATS | _NARROW):
            found.append((node.op_type, None))
        elif not seen & _FLOATS or node.op_type.startswith("QLinear") or node.output[0] in fused:
            found.append((node.op_type, "integer"))
        else:
            found.append((node.op_type, "floating"))
    return count(found, _channel_axes(nodes, makers))


def _fused(graph: Any, nodes: list[Any], types: dict[str, int], makers: dict[str, Any]) -> set[str]:
    """Return what is made between DequantizeLinear and QuantizeLinear, and read by nothing else."""
    reads = Counter([*(name for node in nodes for name in node.input), *(end.name for end in graph.output)])
    constants = {item.name: item for item in graph.initializer}

    def between(node: Any) -> bool:
        sources = [makers.get(name) for name in node.input if types.get(name) in _FLOATS]
        dequantized = all(source is not None and source.op_type == "DequantizeLinear" for source in sources)
        return bool(sources) and dequantized and reads[node.output[0]] == 1

    fused: set[str] = set()
    for quantize in (node for node in nodes if node.op_type == "QuantizeLinear"):
        node = makers.get(quantize.input[0])
        if node is None:
            continue
        inner = makers.get(node.input[0]) if node.input else None
        # a Relu before it disappears where the lowest integer means 0; Clip has the bounds of the integers
        clips = node.op_type == "Clip" or (
            node.op_type == "Relu" and (len(quantize.input) < 3 or _is_lowest(constants.get(quantize.input[2])))
        )
        if between(node):
            fused.add(node.output[0])
        elif clips and inner is not None and reads[node.output[0]] == 1 and between(inner):
            fused |= {node.output[0], inner.output[0]}
    return fused


def _is_lowest(item: Any) -> bool:
    import onnx

    if item is None:
        return False
    zero_point = onnx.numpy_helper.to_array(item)
    return zero_point.dtype in (np.int8, np.uint8, np.int16, np.uint16) and bool(
        np.all(zero_point == np.iinfo(zero_point.dtype).min)
    )


def _channel_axes(nodes: list[Any], makers: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return kernel -> the axes of its output channels: OIHW, or [in, out] unless Gemm transposes it."""
    axes: dict[str, tuple[int, ...]] = {}
    for node in nodes:
        if node.op_type not in ("Conv", "ConvTranspose", "MatMul", "Gemm"):
            continue
        name = node.input[1]
        while name in makers and makers[name].op_type == "DequantizeLinear":
            name = makers[name].input[0]
        transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
        rows = node.op_type == "Conv" or (node.op_type == "Gemm" and transposed)
        axes[name] = (0,) if rows else (1,)
    return axes


_CONVERSIONS = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"})
# numbers of onnx.TensorProto.DataType: float, float16, double, bfloat16; uint8, int8, uint16, int16, uint4, int4
_FLOATS = frozenset({1, 10, 11, 16})
_NARROW = frozenset({2, 3, 4, 5, 21, 22})


def _types(graph: Any) -> dict[str, int]:
    """Return tensor -> number of its type, in a graph and in the bodies of its loops and branches."""
    ends = (*graph.input, *graph.output, *graph.value_info)
    types = {end.name: int(end.type.tensor_type.elem_type) for end in ends}
    types |= {item.name: int(item.data_type) for item in graph.initializer}
    for body in (body for node in graph.node for body in bodies(node)):
        types |= _types(body)
    return types
