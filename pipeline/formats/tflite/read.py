"""What is in a .tflite: its ends and its constants, read from the file without running it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.formats import saved_model
from pipeline.formats.tflite import sparse


def tree(path: Path) -> Any:
    """Return the file as the object tree of LiteRT's own schema."""
    return parsed(path.read_bytes())


def parsed(content: bytes) -> Any:
    """Return a file's bytes as that tree; a tensor without a name (`stripping.py`) is called #INDEX."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    for graph in model.subgraphs:
        for index, tensor in enumerate(graph.tensors):
            tensor.name = tensor.name or f"#{index}".encode()
    return model


def kind(model: Any, operator: Any) -> str:
    """Return what an operator is called in LiteRT's schema; a custom one (TensorFlow's among them) by its own name."""
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    code = model.operatorCodes[operator.opcodeIndex]
    name = _names(BuiltinOperator)[max(code.builtinCode, code.deprecatedBuiltinCode)]
    return str(code.customCode.decode(errors="replace")) if name == "CUSTOM" else name


@cache
def _names(enumeration: type) -> dict[int, str]:
    return {code: name for name, code in vars(enumeration).items() if not name.startswith("_")}


def steps(*names: str) -> set[str]:
    """Return the layers of which tensors are: one is called PATH;PATH..., after all that were merged into it."""
    return {step for name in names for path in name.split(";") for step in path.split("/")}


def signature(path: Path) -> dict[str, dict[str, int]]:
    """Return {"inputs": {name: tensor index}, "outputs": {...}} of `serving_default`; empty where there is none."""
    return signature_of(tree(path))


def signature_of(model: Any) -> dict[str, dict[str, int]]:
    for item in model.signatureDefs or []:
        if item.signatureKey == saved_model.SIGNATURE.encode():
            return {
                "inputs": {end.name.decode(): int(end.tensorIndex) for end in item.inputs},
                "outputs": {end.name.decode(): int(end.tensorIndex) for end in item.outputs},
            }
    return {"inputs": {}, "outputs": {}}


def bare(model: Any) -> dict[str, dict[str, int]]:
    """Return what `signature_of` does for a file without one: the main graph's ends by the names of their tensors."""
    graph = model.subgraphs[0]
    return {
        key: {graph.tensors[index].name.decode(): int(index) for index in places}
        for key, places in (("inputs", graph.inputs), ("outputs", graph.outputs))
    }


def unservable(path: Path) -> str:
    """Return why TensorFlow Serving cannot serve a file as model.tflite, or would answer wrongly; empty: it can."""
    model = tree(path)
    if any(tensor.isVariable for graph in model.subgraphs for tensor in graph.tensors):
        return "it has variable tensors: behind a server one request's state would reach the next"
    if (size := batch(path)) is not None:
        return f"it takes batches of {size} alone"
    tensors = model.subgraphs[0].tensors
    at = {name: tensors[index] for one in signature_of(model).values() for name, index in one.items()}
    if scaled := [name for name, end in at.items() if _scaled(end)]:
        return f"{', '.join(scaled)} are integers, and no server tells a client what scale they have"
    ends = {name: end.name.decode() for name, end in at.items()}
    if other := [f"{name} is {tensor}" for name, tensor in ends.items() if name != tensor]:
        return f"a server knows its ends by the names of their tensors, which are others: {', '.join(other)}"
    return ""


def _scaled(tensor: Any) -> bool:
    """Return whether a tensor's integers stand for other numbers."""
    return tensor.quantization is not None and tensor.quantization.scale is not None


def batch(path: Path) -> int | None:
    """Return the only number of samples that a file takes at once; None: any."""
    tensors = tree(path).subgraphs[0].tensors
    inputs = [tensors[index] for index in signature(path)["inputs"].values()]
    # only what is not fixed has a signature of its shape
    fixed = [int(one.shape[0]) for one in inputs if one.shapeSignature is None or one.shapeSignature[0] > 0]
    return fixed[0] if fixed else None


def tensor_names(path: Path) -> list[str]:
    """Return the names of the main graph's tensors, by index."""
    return [tensor.name.decode() for tensor in tree(path).subgraphs[0].tensors]


def kernels(path: Path) -> dict[str, np.ndarray]:
    """Return the weight constants of rank 2 and more in the file, by tensor name, as they are stored (float or int).

    Those that are stored sparsely have their zeros again.
    Where the integer that means 0 is another one (an Embedding's, quantized after training), it is subtracted: int16.
    Integers of four bits are int8.
    """
    from ai_edge_litert.schema_py_generated import TensorType

    dtypes = {
        TensorType.FLOAT32: np.float32,
        TensorType.FLOAT16: np.float16,
        TensorType.INT8: np.int8,
        TensorType.UINT8: np.uint8,
        TensorType.INT16: np.int16,
        TensorType.INT4: np.uint8,  # two of them
    }
    model = tree(path)
    found: dict[str, np.ndarray] = {}
    seen: set[int] = set()
    for tensor in (tensor for graph in model.subgraphs for tensor in graph.tensors):
        data = model.buffers[tensor.buffer].data
        # Shapes, paddings and indices are int32 or int64, and no weights; tied tensors share one buffer.
        if (
            data is None
            or tensor.shape is None
            or len(tensor.shape) < 2
            or tensor.type not in dtypes
            or tensor.buffer in seen
        ):
            continue
        seen.add(tensor.buffer)
        name = tensor.name.decode()
        name = name if name not in found else f"{name}#{tensor.buffer}"
        values = np.frombuffer(data.tobytes(), dtypes[tensor.type])
        if tensor.type == TensorType.INT4:
            values = _fours(values)[: int(np.prod(tensor.shape))]
        if tensor.sparsity is None:
            values = values.reshape(tensor.shape)
        else:
            values = sparse.dense(values, tuple(int(side) for side in tensor.shape), tensor.sparsity)
        zero = tensor.quantization.zeroPoint if tensor.quantization is not None else None
        if values.dtype == np.int8 and zero is not None and len(zero) == 1 and zero[0] != 0:
            values = values.astype(np.int16) - np.int16(zero[0])
        found[name] = values
    return found


def _fours(pairs: np.ndarray) -> np.ndarray:
    """Return the signed four-bit integers in bytes, int8 [2 * n]; the lower half of a byte is the first."""
    both = np.column_stack([pairs & 15, pairs >> 4]).reshape(-1).astype(np.int8)
    return (both ^ 8) - 8
