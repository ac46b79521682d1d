"""Weights of operators that compute in float32 are stored as float16 in a .tflite, and made float32 as it is loaded.

The converter does that for a whole file only: asked for it beside ranges from quantization-aware training, it makes an
int8 file and says nothing. So the constants are replaced in the file, each with a DEQUANTIZE behind it, as the
converter's own float16 files have them (LiteRT's float16 post-training quantization).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.formats import ConversionError
from pipeline.formats.tflite.read import kind

# operator -> which of its inputs is the kernel
_KERNELS = {
    "CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "FULLY_CONNECTED": 1, "TRANSPOSE_CONV": 1, "CONV_3D": 1, "BATCH_MATMUL": 1,
    "GATHER": 0,
}  # fmt: skip


def halve(model: Any) -> None:
    """Replace the float32 kernels of a .tflite by float16 ones.

    Args:
        model: the file as the object tree of LiteRT's schema; it is changed.

    Raises:
        ConversionError: a weight is too large for float16.
    """
    from ai_edge_litert import schema_py_generated as schema

    halved: dict[int, int] = {}  # buffer -> the float16 one
    for graph in model.subgraphs:
        added = []
        for operator in graph.operators:
            place = _KERNELS.get(kind(model, operator))
            if place is None:
                continue
            index = int(operator.inputs[place])
            kernel = graph.tensors[index]
            data = model.buffers[kernel.buffer].data
            if kernel.type != schema.TensorType.FLOAT32 or data is None:
                continue
            if kernel.buffer not in halved:
                halved[kernel.buffer] = _buffer(model, _half(data, kernel.name.decode()))
            added.append(_dequantize(model, graph, index, halved[kernel.buffer]))
        graph.operators[:0] = added
    used = {tensor.buffer for graph in model.subgraphs for tensor in graph.tensors}
    for old in halved:
        if old not in used:
            model.buffers[old].data = None


def _half(data: np.ndarray, name: str) -> np.ndarray:
    values = np.frombuffer(data.tobytes(), np.float32)
    largest, most = float(np.abs(values).max(initial=0)), float(np.finfo(np.float16).max)
    if largest > most:
        raise ConversionError(
            f"{name} cannot be float16", expected=f"weights of at most {most:g}",
            found=f"{largest:g}", todo="quantize.float_layers=float32",
        )  # fmt: skip
    return values.astype(np.float16)


def _buffer(model: Any, values: np.ndarray) -> int:
    from ai_edge_litert import schema_py_generated as schema

    made = schema.BufferT()
    made.data = np.frombuffer(values.tobytes(), np.uint8)
    model.buffers.append(made)
    return len(model.buffers) - 1


def _dequantize(model: Any, graph: Any, index: int, buffer: int) -> Any:
    """Return the operator that makes a kernel, no constant any more, of a new tensor with its float16 values."""
    from ai_edge_litert import schema_py_generated as schema

    kernel, stored = graph.tensors[index], schema.TensorT()
    stored.name, stored.type, stored.buffer = kernel.name, schema.TensorType.FLOAT16, buffer
    stored.shape, stored.hasRank = kernel.shape, True
    graph.tensors.append(stored)
    kernel.name, kernel.buffer = kernel.name + b"/float32", 0  # the empty one, by the format's rule
    made = schema.OperatorT()
    made.opcodeIndex = _code(model)
    made.inputs, made.outputs = np.array([len(graph.tensors) - 1], np.int32), np.array([index], np.int32)
    return made


def _code(model: Any) -> int:
    """Return the index of DEQUANTIZE in a version that takes float16 (3), among the file's operator codes."""
    from ai_edge_litert import schema_py_generated as schema

    wanted = schema.BuiltinOperator.DEQUANTIZE
    for index, code in enumerate(model.operatorCodes):
        if max(code.builtinCode, code.deprecatedBuiltinCode) == wanted:
            code.version = max(code.version, 3)
            return index
    made = schema.OperatorCodeT()
    made.builtinCode = made.deprecatedBuiltinCode = wanted
    made.version = 3
    model.operatorCodes.append(made)
    return len(model.operatorCodes) - 1
