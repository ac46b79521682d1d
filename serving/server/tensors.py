"""TensorProto to array and back (rules 3.5 and 3.6), without work in Python per element where there are many."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2

from serving.server.status import Code, StatusError, invalid

# DataType -> the field of its values and numpy's dtype
_FIELDS: dict[int, tuple[str, Any]] = {
    types_pb2.DT_FLOAT: ("float_val", np.float32),
    types_pb2.DT_DOUBLE: ("double_val", np.float64),
    types_pb2.DT_INT32: ("int_val", np.int32),
    types_pb2.DT_UINT8: ("int_val", np.uint8),
    types_pb2.DT_INT16: ("int_val", np.int16),
    types_pb2.DT_INT8: ("int_val", np.int8),
    types_pb2.DT_UINT16: ("int_val", np.uint16),
    types_pb2.DT_STRING: ("string_val", object),
    types_pb2.DT_COMPLEX64: ("scomplex_val", np.complex64),
    types_pb2.DT_COMPLEX128: ("dcomplex_val", np.complex128),
    types_pb2.DT_INT64: ("int64_val", np.int64),
    types_pb2.DT_BOOL: ("bool_val", np.bool_),
    types_pb2.DT_HALF: ("half_val", np.float16),
    types_pb2.DT_BFLOAT16: ("half_val", tf.bfloat16.as_numpy_dtype),
    types_pb2.DT_UINT32: ("uint32_val", np.uint32),
    types_pb2.DT_UINT64: ("uint64_val", np.uint64),
}
_KINDS: dict[int, tuple[str, np.dtype[Any]]] = {
    dtype: (field, np.dtype(kind)) for dtype, (field, kind) in _FIELDS.items()
}
# On the wire these are one block of fixed-width values, as an array has them in memory: number of the field
_PACKED = {"float_val": 5, "double_val": 6}
_FEW = 64  # below this, lists are faster
_LARGEST_RANK = 32  # TensorFlow has 254, but its bridge to numpy ends the process beyond this
_LARGEST_FILLED = 2**28  # bytes: a few claim any number of elements


def dtype_name(dtype: int) -> str:
    """Return TensorFlow's name of a DataType: float, double, int32, string, half."""
    return str(types_pb2.DataType.Name(dtype)).removeprefix("DT_").lower()


def numpy_dtype(dtype: int) -> np.dtype[Any]:
    """Return numpy's dtype for a DataType, object for strings.

    Raises:
        StatusError: it is none that this server carries.
    """
    if dtype not in _KINDS:
        raise StatusError(Code.UNIMPLEMENTED, f"this server does not carry tensors of type {dtype_name(dtype)}")
    return _KINDS[dtype][1]


def to_array(proto: Any, alias: str) -> np.ndarray:
    """Return the value of a TensorProto; its dtype is never cast. The array may be read-only.

    Fewer typed values than the shape has are filled with the last, none with zeros; a surplus is dropped.

    Raises:
        StatusError: dtype, shape and contents do not fit each other, or little is to be filled up to very much.
    """
    kind = _KINDS.get(proto.dtype)
    shape = tuple([dim.size for dim in proto.tensor_shape.dim])
    if kind is None or (shape and min(shape) < 0) or len(shape) > _LARGEST_RANK:
        raise _parsing_error(alias)
    field, dtype = kind
    try:
        if proto.tensor_content:
            return _from_content(proto.tensor_content, dtype, shape, alias)
        return _from_values(proto, field, dtype, math.prod(shape)).reshape(shape)
    except (ValueError, MemoryError, OverflowError):  # more elements than can be
        raise _parsing_error(alias) from None


DTYPE_NAMES = {kind: dtype_name(dtype) for dtype, (_, kind) in _KINDS.items()}


def _parsing_error(alias: str) -> StatusError:
    return invalid(f"tensor parsing error: {alias}")


def _from_content(content: bytes, dtype: np.dtype[Any], shape: tuple[int, ...], alias: str) -> np.ndarray:
    count = math.prod(shape)
    if count == 0:
        return np.empty(shape, dtype)
    if dtype.kind == "O":
        return _strings(content, count, alias).reshape(shape)
    if len(content) != count * dtype.itemsize:
        raise _parsing_error(alias)
    return np.frombuffer(content, dtype).reshape(shape)


def _strings(content: bytes, count: int, alias: str) -> np.ndarray:
    """Return the strings of a tensor_content: all lengths as varints, then all bytes."""
    sizes, at = [], 0
    for _ in range(count):
        size = shift = 0
        while True:
            if at >= len(content) or shift > 63:
                raise _parsing_error(alias)
            byte = content[at]
            at, size, shift = at + 1, size | (byte & 127) << shift, shift + 7
            if byte < 128:
                break
        sizes.append(size)
    if at + sum(sizes) != len(content):
        raise _parsing_error(alias)
    found = np.empty(count, object)
    for index, size in enumerate(sizes):
        found[index] = content[at : at + size]
        at += size
    return found


def _from_values(proto: Any, field: str, dtype: np.dtype[Any], count: int) -> np.ndarray:
    values = getattr(proto, field)
    if len(values) < count and count * dtype.itemsize > _LARGEST_FILLED:
        if count >= 2**63:
            raise OverflowError(count)
        raise StatusError(
            Code.RESOURCE_EXHAUSTED,
            f"a tensor of {count} elements is not made of {len(values)} values: {_LARGEST_FILLED} bytes are the limit",
        )
    if not values:
        return np.full(count, b"", object) if dtype.kind == "O" else np.zeros(count, dtype)
    if dtype.kind == "O":
        given = np.empty(len(values), object)
        given[:] = values
    elif dtype.kind == "c":
        pairs = np.array(values)[: len(values) // 2 * 2]
        given = pairs.astype(np.float32 if dtype == np.complex64 else np.float64).view(dtype)
    elif field == "half_val":
        given = np.array(values).astype(np.uint16).view(dtype)
    elif len(values) < _FEW:
        given = np.array(values[:], np.int64 if field == "int_val" else dtype).astype(dtype, copy=False)
    else:
        given = np.array(values).astype(dtype, copy=False)
    if len(given) >= count:
        return given[:count]
    filled = np.empty(count, dtype)
    filled[: len(given)] = given
    filled[len(given) :] = given[-1] if len(given) else 0
    return filled


def fill(proto: Any, array: np.ndarray, dtype: int, *, as_content: bool) -> None:
    """Write an array into an empty TensorProto: one typed value per element, or tensor_content.

    Args:
        dtype: its number in DataType.
        as_content: use tensor_content.
    """
    proto.dtype = dtype
    dims = proto.tensor_shape.dim
    for size in array.shape:
        dims.add().size = size
    if not dims:
        proto.tensor_shape.SetInParent()
    numpy_dtype(dtype)
    field, _ = _KINDS[dtype]
    if as_content:
        strings = array.ravel().tolist() if field == "string_val" else []
        proto.tensor_content = b"".join([*map(_varint, map(len, strings)), *strings]) or array.tobytes()
    elif field == "string_val":
        proto.string_val.extend(array.ravel().tolist())
    elif field in _PACKED and array.size > _FEW:
        proto.MergeFromString(_packed(_PACKED[field], array.tobytes()))
    elif array.dtype.kind == "c":
        parts = array.ravel().view(np.float32 if array.dtype == np.complex64 else np.float64)
        getattr(proto, field).extend(parts.tolist())
    elif field == "half_val":
        proto.half_val.extend(array.ravel().view(np.uint16).tolist())
    else:
        getattr(proto, field).extend(array.ravel().tolist())


def _packed(number: int, data: bytes) -> bytes:
    """Return a length-delimited field of the wire format."""
    return bytes([number << 3 | 2]) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    found.append(value)
    return bytes(found)
