"""TFLite Metadata: what Android's metadata extractor and the Task library read of a .tflite without running it.

A buffer of the model, named TFLITE_METADATA, holds a flatbuffer of its own: the table ModelMetadata of the public
metadata_schema.fbs (file identifier M001). The files that it names are a zip archive behind the model, so that
`unzip -l` lists them; LiteRT reads the file as before.

Tables are written and read by the numbers of their fields in that schema; fields that are not set take no room.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.formats import labels
from pipeline.predictor import PROBABILITIES, Input, Spec

if TYPE_CHECKING:
    from pipeline.predictor import Head

ENTRY = "TFLITE_METADATA"
_IDENTIFIER, _PARSER = b"M001", "1.0.0"
_TFLITE = b"TFL3"

# table: field -> its number, as in the schema
_MODEL = {"description": 1, "subgraphs": 3, "min_parser_version": 7}
_SUBGRAPH = {"inputs": 2, "outputs": 3}
_TENSOR = {"name": 0, "description": 1, "content": 3, "process_units": 4, "stats": 5, "files": 6}
_FILE = {"name": 0, "type": 2}
_STATS = {"max": 0, "min": 1}
_UNION = {"type": 0, "value": 1}  # Content.content_properties and ProcessUnit.options
_NORMALIZATION = {"mean": 0, "std": 1}
_IMAGE = {"color_space": 0}
# numbers in unions and enumerations
_FEATURE_PROPERTIES, _IMAGE_PROPERTIES, _NORMALIZATION_OPTIONS = 1, 2, 1
_COLOR_SPACES = {1: 2, 3: 1}  # channels -> GRAYSCALE, RGB
_TENSOR_AXIS_LABELS = 2


def add(model: Any, spec: Spec, inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
    """Return a .tflite's bytes with metadata: names, ranges of raw values, and the files with the names of classes.

    Args:
        model: without metadata of this kind, as the object tree of LiteRT's own schema (ModelT); it is changed.
        spec: names, ranges and classes.
        inputs, outputs: their names in the spec, in the order of the main graph's.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    buffer = schema.BufferT()
    buffer.data = np.frombuffer(_model_metadata(spec, inputs, outputs), np.uint8)
    entry = schema.MetadataT()
    entry.name, entry.buffer = ENTRY, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), _TFLITE)
    content = bytes(builder.Output())
    return content + _archive(labels.files(spec), len(content))


def label_files(path: Path) -> dict[str, str]:
    """Return name -> text of the files that name classes; none where a .tflite has no metadata."""
    from ai_edge_litert import schema_py_generated as schema
    from flatbuffers.table import Table

    content = path.read_bytes()
    model = schema.Model.GetRootAs(content, 0)
    entries = [model.Metadata(place) for place in range(model.MetadataLength())]
    found = [one for one in entries if one.Name() == ENTRY.encode()]
    if not found:
        return {}
    metadata = model.Buffers(found[0].Buffer()).DataAsNumpy().tobytes()
    root = Table(metadata, int.from_bytes(metadata[:4], "little"))
    (graph,) = _tables(root, _MODEL["subgraphs"])
    tensors = _tables(graph, _SUBGRAPH["outputs"])
    listed = [one for tensor in tensors for one in _tables(tensor, _TENSOR["files"])]
    names = [_text(one, _FILE["name"]) for one in listed if _number(one, _FILE["type"]) == _TENSOR_AXIS_LABELS]
    if not names:
        return {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name).decode() for name in dict.fromkeys(names)}


def _archive(files: Mapping[str, str], start: int) -> bytes:
    """Return a zip archive for the place `start` of a file; the same bytes for the same files."""
    if not files:
        return b""
    whole = io.BytesIO(bytes(start))
    with zipfile.ZipFile(whole, "a") as archive:
        for name, text in files.items():
            one = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            one.compress_type = zipfile.ZIP_DEFLATED if len(text) > 100 else zipfile.ZIP_STORED
            archive.writestr(one, text)
    return whole.getvalue()[start:]


def _model_metadata(spec: Spec, inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
    writer = _Writer()
    given = {one.name: one for one in spec.inputs}
    heads = {name: head for head in spec.heads for name in head.outputs}
    named = {
        name: writer.table(_FILE, name=writer.text(name), type=writer.byte(_TENSOR_AXIS_LABELS))
        for name in labels.files(spec)
    }
    graph = writer.table(
        _SUBGRAPH,
        inputs=writer.vector([_input(writer, given[name]) for name in inputs]),
        outputs=writer.vector([_output(writer, name, heads[name], named) for name in outputs]),
    )
    return writer.finished(
        writer.table(
            _MODEL,
            description=writer.text("takes raw values"),
            subgraphs=writer.vector([graph]),
            min_parser_version=writer.text(_PARSER),
        )
    )


def _input(writer: _Writer, one: Input) -> int:
    """Write what is known of an input: raw values go in, so an image is normalized by (x - 0) / 1."""
    low, high = one.value_range
    space = _COLOR_SPACES.get(one.shape[-1]) if len(one.shape) == 3 else None
    if space is None:
        kind, held = _FEATURE_PROPERTIES, writer.table({})
        fields = {}
    else:
        kind, held = _IMAGE_PROPERTIES, writer.table(_IMAGE, color_space=writer.byte(space))
        plain = writer.table(_NORMALIZATION, mean=writer.floats(0.0), std=writer.floats(1.0))
        unit = writer.table(_UNION, type=writer.byte(_NORMALIZATION_OPTIONS), value=plain)
        fields = {"process_units": writer.vector([unit])}
    return writer.table(
        _TENSOR,
        name=writer.text(one.name),
        content=writer.table(_UNION, type=writer.byte(kind), value=held),
        stats=writer.table(_STATS, max=writer.floats(high), min=writer.floats(low)),
        **fields,
    )


def _output(writer: _Writer, name: str, head: Head, named: Mapping[str, int]) -> int:
    fields = {}
    if head.classes:
        fields["files"] = writer.vector([named[labels.filename(head)]])
    if name.endswith(PROBABILITIES):
        fields["stats"] = writer.table(_STATS, max=writer.floats(1.0), min=writer.floats(0.0))
    held = writer.table(_UNION, type=writer.byte(_FEATURE_PROPERTIES), value=writer.table({}))
    return writer.table(_TENSOR, name=writer.text(name), content=held, **fields)


class _Byte(int):
    """A number that stands in the table itself; all else stands elsewhere, and the table holds its place."""


class _Writer:
    """Writes tables of a flatbuffer; a place is what the builder counts from the end."""

    def __init__(self) -> None:
        import flatbuffers

        self._builder: Any = flatbuffers.Builder(1024)

    def text(self, value: str) -> int:
        return int(self._builder.CreateSharedString(value))

    def floats(self, *values: float) -> int:
        return int(self._builder.CreateNumpyVector(np.array(values, np.float32)))

    def vector(self, tables: Sequence[int]) -> int:
        self._builder.StartVector(4, len(tables), 4)
        for place in reversed(tables):
            self._builder.PrependUOffsetTRelative(place)
        return int(self._builder.EndVector())

    @staticmethod
    def byte(value: int) -> _Byte:
        return _Byte(value)

    def table(self, numbers: Mapping[str, int], **fields: int) -> int:
        """Write a table; `numbers` are those of its fields."""
        self._builder.StartObject(max(numbers.values(), default=-1) + 1)
        for name, value in fields.items():
            if isinstance(value, _Byte):
                self._builder.PrependInt8Slot(numbers[name], value, 0)
            else:
                self._builder.PrependUOffsetTRelativeSlot(numbers[name], value, 0)
        return int(self._builder.EndObject())

    def finished(self, root: int) -> bytes:
        self._builder.Finish(root, _IDENTIFIER)
        return bytes(self._builder.Output())


def _at(table: Any, number: int) -> int:
    """Return where a field stands, 0 where it is not set."""
    offset = table.Offset(4 + 2 * number)
    return int(table.Pos + offset) if offset else 0


def _tables(table: Any, number: int) -> list[Any]:
    """Return the tables of a vector."""
    from flatbuffers.table import Table

    offset = table.Offset(4 + 2 * number)
    start, count = (table.Vector(offset), table.VectorLen(offset)) if offset else (0, 0)
    return [Table(table.Bytes, table.Indirect(start + 4 * place)) for place in range(count)]


def _text(table: Any, number: int) -> str:
    place = _at(table, number)
    return bytes(table.String(place)).decode() if place else ""


def _number(table: Any, number: int) -> int:
    place = _at(table, number)
    return int.from_bytes(table.Bytes[place : place + 1], "little", signed=True) if place else 0
