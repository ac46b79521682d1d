"""An .onnx with more weights than one protobuf message can hold (2 GiB): they lie in FILE.onnx.data beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.formats.onnx.walking import every_node, initializers

# bytes of weights from which on they lie beside: a message of 2 GiB cannot be read, and the graph needs some of it
LIMIT = (1 << 31) - (1 << 24)
SUFFIX = ".data"
# smaller tensors stay in the graph: shapes and axes are among them, which shape inference has to see
_LEAST = 1024
# so that a runtime can map them into memory, as the format's documentation recommends
_PAGE = 4096


def files(path: Path) -> list[Path]:
    """Return what an .onnx consists of: the file itself, and the weights beside it where they are not in it."""
    return [path, *filter(Path.exists, [_beside(path)])]


def tensors(graph: Any) -> list[Any]:
    """Return all tensors that a graph holds: initializers and constants."""
    constants = (attribute.t for node in every_node(graph) for attribute in node.attribute if attribute.HasField("t"))
    return [*initializers(graph), *constants]


def needed(proto: Any) -> bool:
    """Return whether a model's weights have to lie beside its file."""
    return sum(len(item.raw_data) for item in tensors(proto.graph)) >= LIMIT


def move_out(proto: Any, path: Path) -> None:
    """Write the weights of a model beside its file, and leave references in their place.

    Args:
        proto: onnx.ModelProto; it is changed.
        path: where the .onnx will be; it has to keep this name, which is not written here.
    """
    import onnx

    beside = _beside(path)
    with beside.open("wb") as file:
        for item in initializers(proto.graph):
            size = len(item.raw_data)
            if size < _LEAST:
                continue
            file.write(bytes(-file.tell() % _PAGE))
            place = file.tell()
            file.write(item.raw_data)
            item.ClearField("raw_data")
            item.data_location = onnx.TensorProto.EXTERNAL
            for key, value in (("location", beside.name), ("offset", place), ("length", size)):
                item.external_data.add(key=key, value=str(value))


def _beside(path: Path) -> Path:
    return path.with_name(path.name + SUFFIX)
