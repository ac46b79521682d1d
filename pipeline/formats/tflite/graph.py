"""The operators in a .tflite: counted from the file, without running it."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pipeline.formats import by_layer
from pipeline.formats import operators as counting
from pipeline.formats.operators import Operators, Way
from pipeline.formats.tflite import read
from pipeline.formats.tflite.read import tree


def operators(path: Path) -> Operators:
    """Count the file's operators by the types of their tensors; what only handles shapes is among the kinds alone.

    A hybrid operator (float activations, int8 or int4 weights) is a floating one, named "KIND (int8 weights)". One of
    TensorFlow's own (export.select_tf_ops) is called as there, behind "Flex", and is a floating one.
    """
    from ai_edge_litert.schema_py_generated import TensorType

    model = tree(path)
    found: list[tuple[str, Way | None]] = []
    channel_axes: dict[str, tuple[int, ...]] = {}
    for graph in model.subgraphs:
        made_from = {}  # a tensor that is stored in another type -> the stored one
        for operator in graph.operators:
            kind = read.kind(model, operator)
            inputs = [graph.tensors[index] for index in operator.inputs if index >= 0]
            outputs = [graph.tensors[index] for index in operator.outputs if index >= 0]
            if kind in (*_CONVERSIONS, _DENSIFY):
                made_from[operator.outputs[0]] = operator.inputs[0]
            if kind in _CHANNEL_AXES:
                index = operator.inputs[1]
                while index in made_from:
                    index = made_from[index]
                channel_axes[graph.tensors[index].name.decode()] = _CHANNEL_AXES[kind]
            constant = [tensor for tensor in inputs if model.buffers[tensor.buffer].data is not None]
            way = _way(kind, {tensor.type for tensor in (*inputs, *outputs)})
            if way == "floating" and (stored := {tensor.type for tensor in constant} & _narrow()):
                kind = f"{kind} ({'int4' if TensorType.INT4 in stored else 'int8'} weights)"
            found.append((kind, way))
    foreign = Counter(kind for kind, _ in found if kind.startswith(FLEX))
    return dataclasses.replace(counting.count(found, channel_axes), tensorflow=dict(foreign.most_common()))


def converted_ends(path: Path) -> list[str]:
    """Return the names of the inputs and outputs next to which a file only goes from one type to another."""
    model = tree(path)
    graph = model.subgraphs[0]
    found: set[int] = set()
    for operator in graph.operators:
        if read.kind(model, operator) in _CONVERSIONS:
            found |= {int(index) for index in (*operator.inputs, *operator.outputs)}
    return [graph.tensors[index].name.decode() for index in (*graph.inputs, *graph.outputs) if int(index) in found]


def float_kernels(path: Path, layers: Sequence[str] = ()) -> list[str]:
    """Return what has a kernel that is stored as float32: "LAYER (OPERATOR)".

    Args:
        layers: names of the model's, see `by_layer.with_kernels`; a kernel belongs to the first that it is called
            after, and where there is none, its operator stands alone.
    """
    from ai_edge_litert.schema_py_generated import TensorType

    model, found = tree(path), []
    for graph in model.subgraphs:
        for operator in graph.operators:
            kind = read.kind(model, operator)
            if kind not in by_layer.KERNELS and kind not in by_layer.LEFT:
                continue
            kernels = [
                tensor.name.decode()
                for tensor in (graph.tensors[index] for index in operator.inputs if index >= 0)
                if tensor.type == TensorType.FLOAT32 and model.buffers[tensor.buffer].data is not None
                and tensor.shape is not None and len(tensor.shape) > 1
            ]  # fmt: skip
            if kernels:
                named = read.steps(*kernels, *(graph.tensors[index].name.decode() for index in operator.outputs))
                owner = next((layer for layer in layers if layer in named), "")
                found.append(f"{owner} ({kind})" if owner else kind)
    return list(dict.fromkeys(found))


FLEX = "Flex"  # what is called so is an operator of TensorFlow's, and not of TFLite
_CONVERSIONS = frozenset({"QUANTIZE", "DEQUANTIZE"})
_DENSIFY = "DENSIFY"  # unpacks a constant that is stored sparsely, once, before the first answer
# OHWI, IHWO for depthwise (I is 1), DHWIO, [out, in]
_CHANNEL_AXES = {
    "CONV_2D": (0,),
    "TRANSPOSE_CONV": (0,),
    "DEPTHWISE_CONV_2D": (3,),
    "CONV_3D": (4,),
    "FULLY_CONNECTED": (0,),
}


def _narrow() -> set[int]:
    from ai_edge_litert.schema_py_generated import TensorType

    return {TensorType.INT4, TensorType.INT8, TensorType.UINT8, TensorType.INT16}


def _way(kind: str, types: set[int]) -> Way | None:
    """Return how an operator over tensors of these types computes; None: it computes nothing of the model's values."""
    from ai_edge_litert.schema_py_generated import TensorType

    floats = {TensorType.FLOAT16, TensorType.FLOAT32, TensorType.FLOAT64, TensorType.BFLOAT16} & types
    if kind in _CONVERSIONS or (kind == "CAST" and floats and _narrow() & types):
        return "conversion"
    if kind == "FAKE_QUANT":
        return "fake_quant"
    if kind in ("SHAPE", _DENSIFY):
        return None
    if floats:
        return "floating"
    return "integer" if _narrow() & types else None
