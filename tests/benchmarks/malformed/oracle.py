"""What a request is to be answered, from TensorFlow Serving's public API alone: it knows nothing of the server's code.

Where the API leaves it to the machine, the server's own limits are said here: `LARGEST_RANK`, `LARGEST_FILLED`.
"""

from __future__ import annotations

import math
import re
from typing import Any
from urllib.parse import unquote

import numpy as np
from tensorflow.core.framework import types_pb2

from tests.benchmarks.malformed.models import EXHAUSTED, INVALID, MODELS, KernelError, Model, Signature

OK, NOT_FOUND, INTERNAL = "OK", "NOT_FOUND", "INTERNAL"
LARGEST_RANK = 32  # numpy's own, and what TensorFlow's bridge to it is built for; TensorFlow has 254
LARGEST_FILLED = 2**28  # bytes that fewer values may stand for
HTTP = {OK: 200, INVALID: 400, "FAILED_PRECONDITION": 400, NOT_FOUND: 404, EXHAUSTED: 429, INTERNAL: 500,
        "UNIMPLEMENTED": 501}  # fmt: skip
_FIELDS: dict[str, tuple[str, Any]] = {
    "float": ("float_val", np.float32),
    "double": ("double_val", np.float64),
    "int32": ("int_val", np.int32),
    "uint8": ("int_val", np.uint8),
    "int16": ("int_val", np.int16),
    "string": ("string_val", object),
    "int64": ("int64_val", np.int64),
    "bool": ("bool_val", np.bool_),
    "half": ("half_val", np.float16),
}
# of no model's input; what is left to know is whether they claim too much
_OTHERS = {
    "uint16": ("int_val", 2), "uint32": ("uint32_val", 4), "uint64": ("uint64_val", 8), "bfloat16": ("half_val", 2),
    "complex64": ("scomplex_val", 8), "complex128": ("dcomplex_val", 16),
}  # fmt: skip
_INTEGERS = {"int32": 31, "int64": 63, "uint8": 31, "int16": 31}  # small ones are read as int32, then wrap (rule 4.6)
_WHICH = r"(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"
_PREDICT = re.compile(rf"(?i:/v1/models/)(?P<name>[^/:]+)(?i:{_WHICH}):predict")
_STATUS = re.compile(rf"(?i)/v1/models(?:/(?P<name>[^/:]+){_WHICH}(?P<metadata>/metadata)?)?")


class RefusedError(Exception):
    """The code that a request is answered with."""

    @property
    def code(self) -> str:
        return str(self.args[0])


def find(name: str, version: int | None, label: str | None) -> Model:
    """Rules 2.1 to 2.4."""
    if not name:
        raise RefusedError(INVALID)
    model = MODELS.get(name)
    if label is not None:
        if not model or label not in model.labels:
            raise RefusedError(INVALID)
        version = model.labels[label]
    if model is None or version not in (None, 1):
        raise RefusedError(NOT_FOUND)
    return model


def _spec(request: Any) -> Model:
    if not request.HasField("model_spec"):
        raise RefusedError(INVALID)
    spec = request.model_spec
    choice = spec.WhichOneof("version_choice")
    return find(spec.name, spec.version.value if choice == "version" else None,
                spec.version_label if choice == "version_label" else None)  # fmt: skip


def predict(request: Any) -> str:
    """Return the code of a PredictRequest (rule 3.3)."""
    try:
        model = _spec(request)
        signature = model.signatures.get(request.model_spec.signature_name or "serving_default")
        if signature is None:
            return "FAILED_PRECONDITION"
        if set(request.inputs) != set(signature.inputs):
            return INVALID
        arrays = {alias: tensor(request.inputs[alias]) for alias in signature.inputs}
        asked = list(request.output_filter)
        if not set(asked) <= set(signature.outputs) or len(asked) != len(set(asked)):
            return INVALID
        for alias, dtype in signature.inputs.items():
            if request.inputs[alias].dtype != types_pb2.DataType.Value(f"DT_{dtype.upper()}"):
                return INVALID
        signature.run(arrays)
    except (RefusedError, KernelError) as error:
        return error.code
    return OK


def metadata(request: Any) -> str:
    """Return the code of a GetModelMetadataRequest (rule 3.10)."""
    try:
        if not request.HasField("model_spec") or list(set(request.metadata_field)) != ["signature_def"]:
            return INVALID
        _spec(request)
    except RefusedError as error:
        return error.code
    return OK


def status(request: Any) -> str:
    """Return the code of a GetModelStatusRequest (rule 3.11): labels are not looked at."""
    if not request.HasField("model_spec"):
        return INVALID
    version = request.model_spec.version.value if request.model_spec.HasField("version") else 1
    return OK if request.model_spec.name in MODELS and version == 1 else NOT_FOUND


def tensor(proto: Any) -> np.ndarray:
    """Return the array of a TensorProto (rules 3.3, check 5, and 3.5); one that is filled takes no memory."""
    name = types_pb2.DataType.Name(proto.dtype).removeprefix("DT_").lower() if proto.dtype in _NUMBERS else ""
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    count = math.prod(shape)
    if any(size < 0 for size in shape) or len(shape) > LARGEST_RANK or count >= 2**63:
        raise RefusedError(INVALID)
    if name not in _FIELDS:
        field, size = _OTHERS.get(name, ("", 0))
        claims = field and not proto.tensor_content and len(getattr(proto, field)) < count
        raise RefusedError(EXHAUSTED if claims and count * size > LARGEST_FILLED else INVALID)
    field, kind = _FIELDS[name]
    dtype = np.dtype(kind)
    if proto.tensor_content:
        return _content(proto.tensor_content, dtype, count).reshape(shape)
    values = list(getattr(proto, field))
    if len(values) < count and count * dtype.itemsize > LARGEST_FILLED:
        raise RefusedError(EXHAUSTED)
    if name == "half":
        values = np.array(values, np.uint16).view(np.float16).tolist()
    if len(values) <= 1:
        one = values[0] if values else b"" if name == "string" else 0
        return np.broadcast_to(np.array(one, np.int64).astype(dtype) if field == "int_val" else np.array(one, dtype),
                               shape)  # fmt: skip
    values = [*values[:count], *values[-1:] * (count - len(values))]
    made = np.array(values, np.int64).astype(dtype) if field == "int_val" else np.array(values, dtype)
    return made.reshape(shape)


_NUMBERS = frozenset(types_pb2.DataType.values())


def _content(content: bytes, dtype: np.dtype[Any], count: int) -> np.ndarray:
    if count == 0:
        return np.empty(0, dtype)
    if dtype.kind != "O":
        if len(content) != count * dtype.itemsize:
            raise RefusedError(INVALID)
        return np.frombuffer(content, dtype)
    sizes: list[int] = []
    at = 0
    while len(sizes) < count:
        match = re.compile(rb"[\x80-\xff]{0,9}[\x00-\x7f]", re.DOTALL).match(content, at)
        if not match:
            raise RefusedError(INVALID)
        sizes.append(sum((byte & 127) << 7 * place for place, byte in enumerate(match[0])))
        at = match.end()
    if at + sum(sizes) != len(content):
        raise RefusedError(INVALID)
    found = np.empty(count, object)
    for index, size in enumerate(sizes):
        found[index], at = content[at : at + size], at + size
    return found


def rest(method: str, path: str, document: Any) -> int:
    """Return the status of a REST request (rules 4.1, 4.2 and 4.6).

    Args:
        document: what the body's JSON means; a body that is none is an Exception.
    """
    if not re.fullmatch(r"(?is)/v1/.*", path):
        return 404
    match = {"POST": _PREDICT, "GET": _STATUS}.get(method, re.compile(r"(?!)")).fullmatch(path)
    if not match or not match["name"]:
        return 400
    version = int(match["version"]) if match["version"] else None
    if version is not None and version >= 2**63:
        return 400
    name, label = unquote(match["name"]), unquote(match["label"]) if match["label"] else None
    try:
        if method == "POST":
            return HTTP[_rest_predict(name, version, label, document)]
        if match["metadata"]:
            find(name, version, label)
        elif name not in MODELS or version not in (None, 1):
            return 404
    except (RefusedError, KernelError) as error:
        return HTTP[error.code]
    return 200


def _rest_predict(name: str, version: int | None, label: str | None, document: Any) -> str:
    if not isinstance(document, dict) or not isinstance(document.get("signature_name", ""), str):
        raise RefusedError(INVALID)
    model = find(name, version, label)
    signature = model.signatures.get(document.get("signature_name") or "serving_default")
    if signature is None or ("instances" in document) == ("inputs" in document):
        raise RefusedError(INVALID)
    if "inputs" in document:
        signature.run(_columns(document["inputs"], signature))
        return OK
    shapes = signature.run(_rows(document["instances"], signature))
    if any(not shape for shape in shapes.values()) or len({shape[0] for shape in shapes.values()}) != 1:
        raise RefusedError(INVALID)
    return OK


def _columns(value: Any, signature: Signature) -> dict[str, np.ndarray]:
    if not _is_object(value):
        if len(signature.inputs) > 1:
            raise RefusedError(INVALID)
        return {alias: json_array(value, dtype) for alias, dtype in signature.inputs.items()}
    if not signature.inputs.keys() <= value.keys():
        raise RefusedError(INVALID)
    return {alias: json_array(value[alias], dtype) for alias, dtype in signature.inputs.items()}


def _rows(rows: Any, signature: Signature) -> dict[str, np.ndarray]:
    if not isinstance(rows, list) or not rows or len({_is_object(row) for row in rows}) != 1:
        raise RefusedError(INVALID)
    if not _is_object(rows[0]):
        if len(signature.inputs) > 1:
            raise RefusedError(INVALID)
        rows = [dict.fromkeys(signature.inputs, row) for row in rows]
    if any(row.keys() != signature.inputs.keys() for row in rows):
        raise RefusedError(INVALID)
    try:
        return {alias: json_array([row[alias] for row in rows], dtype) for alias, dtype in signature.inputs.items()}
    except RefusedError:
        raise RefusedError(INVALID) from None  # UNIMPLEMENTED too


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and not (value.keys() == {"b64"} and isinstance(value["b64"], str))


def json_array(value: Any, dtype: str) -> np.ndarray:
    """Return the array of a JSON value: a scalar or lists of equal lengths."""
    shape, level = [], [value]
    while level and isinstance(level[0], list):
        if any(not isinstance(part, list) or len(part) != len(level[0]) for part in level):
            raise RefusedError(INVALID)
        shape.append(len(level[0]))
        level = [element for part in level for element in part]
    if len(shape) > LARGEST_RANK or any(isinstance(element, list) for element in level):
        raise RefusedError(INVALID)
    kind = _FIELDS[dtype][1]
    found = np.empty(len(level), kind)
    with np.errstate(over="ignore"):
        found[:] = [_element(element, dtype) for element in level]
    return found.reshape(shape)


def _element(value: Any, dtype: str) -> Any:
    if dtype == "string":
        if isinstance(value, dict) and not _is_object(value):
            return _base64(value["b64"])
        fits = isinstance(value, str)
    elif dtype == "half":
        raise RefusedError("UNIMPLEMENTED")
    elif dtype == "bool" or isinstance(value, bool):
        fits = dtype == "bool" and isinstance(value, bool)
    elif dtype in _INTEGERS:
        fits = isinstance(value, int) and -(2 ** _INTEGERS[dtype]) <= value < 2 ** _INTEGERS[dtype]
        value = int(np.int64(value).astype(_FIELDS[dtype][1])) if fits else None
    else:
        fits = isinstance(value, (int, float))
    if not fits:
        raise RefusedError(INVALID)
    return value.encode() if isinstance(value, str) else value


def _base64(text: str) -> bytes:
    bare = text.rstrip("=")
    if len(bare) % 4 == 1 or not re.fullmatch(r"[A-Za-z0-9+/]*", bare) or len(text) - len(bare) not in (
        0, -len(bare) % 4
    ):  # fmt: skip
        raise RefusedError(INVALID)
    return b""
