"""What a .tflite takes and gives, in the order in which a runtime without names counts it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pipeline.formats.tflite.read import bare, kind, signature_of, tree
from pipeline.signature import End, Signature


def signature(path: Path) -> Signature:
    """Return a file's ends in the order of its main graph: the first input is the runtime's input 0.

    Named as in its signature, or as their tensors where it has none. A size that is not fixed is None.
    """
    model = tree(path)
    graph = model.subgraphs[0]
    names = signature_of(model)
    if not names["outputs"]:
        names = bare(model)
    ends = []
    for key, places in (("inputs", graph.inputs), ("outputs", graph.outputs)):
        named = {index: name for name, index in names[key].items()}
        ends.append(tuple(_end(named[int(index)], graph.tensors[index]) for index in places))
    return Signature(*ends)


def scales(path: Path) -> dict[str, float]:
    """Return the step of each output: the scale of the integers that it is, or that it is made of.

    An output of real values has none, unless a DEQUANTIZE makes it of integers.
    """
    model = tree(path)
    graph = model.subgraphs[0]
    made_of = {}
    for operator in graph.operators:
        if kind(model, operator) == "DEQUANTIZE":
            made_of[int(operator.outputs[0])] = int(operator.inputs[0])
    found = {}
    for end, place in zip(signature(path).gives, graph.outputs, strict=True):
        about = _affine(graph.tensors[made_of.get(int(place), int(place))])
        if about is not None:
            found[end.name] = about[0]
    return found


def quantized(values: np.ndarray, end: End) -> np.ndarray:
    """Return raw values as an input takes them, in its type.

    Real values become integers as LiteRT's QUANTIZE makes them: value / scale + zero point, rounded half to even and
    clipped to the type. Where an input is no quantized one (float32, token ids in int32), only the type is changed.
    """
    if end.quantization is None:
        return np.ascontiguousarray(values, end.dtype)
    scale, zero = end.quantization
    limits = np.iinfo(end.dtype)
    integers = np.rint(values / np.float32(scale)) + zero
    return np.ascontiguousarray(np.clip(integers, limits.min, limits.max), end.dtype)


def dequantized(raw: np.ndarray, end: End) -> np.ndarray:
    """Return what the integers of an output stand for: (integer - zero point) * scale, float32."""
    if end.quantization is None:
        return raw.astype(np.float32)
    scale, zero = end.quantization
    return (raw.astype(np.float32) - np.float32(zero)) * np.float32(scale)


def _end(name: str, tensor: Any) -> End:
    from ai_edge_litert.schema_py_generated import TensorType

    types = {code: word.lower() for word, code in vars(TensorType).items() if not word.startswith("_")}
    shape = tensor.shape if tensor.shapeSignature is None else tensor.shapeSignature
    sizes = [] if shape is None else [int(size) for size in shape]
    return End(name, types[tensor.type], tuple(None if size < 0 else size for size in sizes), _affine(tensor))


def _affine(tensor: Any) -> tuple[float, int] | None:
    about = tensor.quantization
    if about is None or about.scale is None or len(about.scale) != 1:
        return None
    return float(about.scale[0]), int(about.zeroPoint[0])
