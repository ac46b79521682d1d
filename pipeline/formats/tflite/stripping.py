"""A .tflite without what only people and tools read of it, and packed once more: export.strip_tflite.

LiteRT takes tensors by their numbers, and a signature tells which of them is called how outside. So all names are taken
out but those of the ends (TensorFlow Serving knows a file's ends by these alone), and with them the metadata, names of
classes and ranges that quantization wrote beside its scales. What computes is the same, bit by bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pipeline.formats import ConversionError
from pipeline.formats.tflite.read import signature_of

_TFLITE = b"TFL3"


def strip(content: bytes) -> bytes:
    """Return a .tflite that answers as this one does, in fewer bytes.

    Raises:
        ConversionError: weights lie outside of the flatbuffer, as in a file of more than 2 GB; they would be lost.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    if model.externalBuffers or any(one.offset for one in model.buffers):
        raise ConversionError(
            "a .tflite with weights outside of its flatbuffer cannot be stripped",
            expected="weights in the flatbuffer, as in files of less than 2 GB", found=f"{len(content):,} bytes",
            todo="set export.strip_tflite=false",
        )  # fmt: skip
    model.description = model.metadata = model.metadataBuffer = None
    ends = {index for one in signature_of(model).values() for index in one.values()}
    for place, graph in enumerate(model.subgraphs):
        graph.name = None
        for index, tensor in enumerate(graph.tensors):
            _bare(tensor, end=index in ends and place == 0)
    _merge_buffers(model)
    _drop_codes(model)
    builder = _sharing(len(content))
    builder.Finish(model.Pack(builder), _TFLITE)
    return bytes(builder.Output())


def _bare(tensor: Any, *, end: bool) -> None:
    """Leave of a tensor what the interpreter goes by."""
    if not end:  # which of its sides are free follows from the inputs'
        tensor.name = tensor.shapeSignature = None
    about = tensor.quantization
    if about is not None:
        about.min = about.max = None
        if about.scale is None and about.details is None:
            tensor.quantization = None
    # where no side is free it says the shape again
    if tensor.shapeSignature is not None and np.array_equal(tensor.shapeSignature, tensor.shape):
        tensor.shapeSignature = None


def _merge_buffers(model: Any) -> None:
    """Leave one buffer of those with the same bytes, and of those that hold nothing the first, by the format's rule."""
    from ai_edge_litert import schema_py_generated as schema

    kept: list[Any] = [schema.BufferT()]
    places: dict[bytes | None, int] = {None: 0}
    for tensor in (tensor for graph in model.subgraphs for tensor in graph.tensors):
        buffer = model.buffers[tensor.buffer]
        data = None if buffer.data is None else bytes(buffer.data)
        if data not in places:
            places[data] = len(kept)
            kept.append(buffer)
        tensor.buffer = places[data]
    model.buffers = kept


def _drop_codes(model: Any) -> None:
    """Leave the operator codes that some operator has."""
    operators = [one for graph in model.subgraphs for one in graph.operators]
    used = sorted({one.opcodeIndex for one in operators})
    model.operatorCodes = [model.operatorCodes[index] for index in used]
    for one in operators:
        one.opcodeIndex = used.index(one.opcodeIndex)


def _sharing(size: int) -> Any:
    """Return a builder that writes no text and no array twice."""
    import flatbuffers

    class Sharing(flatbuffers.Builder):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(size)
            self._places: dict[tuple[str, bytes], int] = {}

        def CreateString(self, s: bytes) -> int:  # noqa: N802
            return self._place("text", s, lambda: super(Sharing, self).CreateString(s))

        def CreateNumpyVector(self, x: np.ndarray) -> int:  # noqa: N802
            return self._place(x.dtype.str, x.tobytes(), lambda: super(Sharing, self).CreateNumpyVector(x))

        def _place(self, kind: str, content: bytes, write: Callable[[], int]) -> int:
            if (kind, content) not in self._places:
                self._places[kind, content] = write()
            return self._places[kind, content]

    return Sharing()
