"""A JSON value to an array of a signature's dtype (rule 4.6).

Regular input takes a fast way, in which Python does no work per element. The rest is read element by element in
TensorFlow Serving's order, so that the first error is the same.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np
from tensorflow.core.framework import types_pb2

from serving.server.rest.json import kind, shown
from serving.server.status import Code, StatusError, invalid
from serving.server.tensors import dtype_name, numpy_dtype

_NUMBERS, _INTEGERS = frozenset({int, float}), frozenset({int})
_INT32 = (-(2**31), 2**31 - 1)
# DataType -> the types that json reads it from, and for integers the lowest and the highest token
_PLAIN: dict[int, frozenset[type]] = {
    types_pb2.DT_FLOAT: _NUMBERS,
    types_pb2.DT_DOUBLE: _NUMBERS,
    types_pb2.DT_BOOL: frozenset({bool}),
    types_pb2.DT_STRING: frozenset({str}),
}
_LIMITS: dict[int, tuple[int, int]] = {
    types_pb2.DT_INT32: _INT32,
    types_pb2.DT_INT16: _INT32,  # a token is read as int32, then wraps
    types_pb2.DT_INT8: _INT32,
    types_pb2.DT_UINT8: _INT32,
    types_pb2.DT_INT64: (-(2**63), 2**63 - 1),
    types_pb2.DT_UINT32: (0, 2**32 - 1),
    types_pb2.DT_UINT64: (0, 2**64 - 1),
}
_PLAIN |= dict.fromkeys(_LIMITS, _INTEGERS)
HIGHEST_RANK = 32  # as tensors.to_array has it
_BASE64 = re.compile(r"[A-Za-z0-9+/]*(={0,2})")


def to_array(value: Any, dtype: int) -> np.ndarray:
    """Return the array of a value: a scalar, or lists of equal lengths.

    Raises:
        StatusError: it is ragged, or an element is no value of the dtype.
    """
    found = regular(value, dtype)
    return _by_element(value, dtype) if found is None else found


def regular(value: Any, dtype: int) -> np.ndarray | None:
    """Return the array of a value on the fast way, or None where it has to be looked at element by element."""
    level: list[Any] = [value]
    shape: list[int] = []
    while level and type(level[0]) is list:
        sizes = set(map(len, level)) if set(map(type, level)) == {list} else set()
        if len(sizes) != 1 or len(shape) == HIGHEST_RANK:
            return None
        shape += sizes
        level = list(chain.from_iterable(level))
    return shaped(level, map(type, level), shape, dtype)


def shaped(flat: list[Any], types: Iterable[type], shape: Sequence[int], dtype: int) -> np.ndarray | None:
    """Return elements as an array, or None where one of their types or values is none of the dtype's.

    Args:
        flat: the elements, row by row.
        types: which types they have.
    """
    plain = _PLAIN.get(dtype)
    if plain is None or not plain.issuperset(types):
        return None
    try:
        return _converted(flat, dtype).reshape(shape)
    except (OverflowError, UnicodeEncodeError):
        return None


def _converted(flat: list[Any], dtype: int) -> np.ndarray:
    """Return elements of the right types as an array.

    Raises:
        OverflowError: an integer is out of the range of its token.
        UnicodeEncodeError: a string is not Unicode.
    """
    target = numpy_dtype(dtype)
    if dtype in _LIMITS:
        lowest, highest = _LIMITS[dtype]
        wide = np.array(flat, np.uint64 if highest >= 2**63 else np.int64)
        if len(wide) and (int(wide.min()) < lowest or int(wide.max()) > highest):
            raise OverflowError
        return wide.astype(target, copy=False)
    if target.kind == "O":
        found = np.empty(len(flat), object)
        found[:] = [text.encode("utf-8", "surrogateescape") for text in flat]
        return found
    with np.errstate(over="ignore"):  # too large for float32 is infinite
        return np.array(flat, target) if dtype != types_pb2.DT_FLOAT else np.array(flat, np.float64).astype(target)


def is_base64(value: Any) -> bool:
    """Return whether a value is exactly {"b64": "..."}."""
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def too_deep() -> StatusError:
    """Return the error of a value that would be an array of too many dimensions."""
    return invalid(f"JSON Value is nested deeper than the {HIGHEST_RANK} dimensions that a tensor can have")


def _by_element(value: Any, dtype: int) -> np.ndarray:
    shape = []
    inner = value
    while isinstance(inner, list):
        shape.append(len(inner))
        if len(shape) > HIGHEST_RANK:
            raise too_deep()
        inner = inner[0] if inner else None
    flat: list[Any] = []
    _collect(value, 0, shape, dtype, flat)
    found = np.empty(len(flat), numpy_dtype(dtype))
    with np.errstate(over="ignore"):
        for index, element in enumerate(flat):
            found[index] = element
    return found.reshape(shape)


def _collect(value: Any, level: int, shape: list[int], dtype: int, flat: list[Any]) -> None:
    """Append the elements of a value that sits in `level` lists."""
    if not isinstance(value, list):
        if level != len(shape):
            raise invalid(
                f"JSON Value: {shown(value)} found at incorrect level: {level + 1} in the JSON DOM. Expected at "
                f"level: {len(shape)}"
            )
        flat.append(_element(value, dtype))
        return
    if level >= len(shape):
        raise invalid(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise invalid(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}"
        )
    for element in value:
        _collect(element, level + 1, shape, dtype, flat)


def _element(value: Any, dtype: int) -> Any:
    """Return one element as numpy takes it.

    Raises:
        StatusError: it is of another type, or the dtype has no JSON.
    """
    if isinstance(value, dict) and dtype == types_pb2.DT_STRING:
        return _base64(value)
    plain = _PLAIN.get(dtype)
    if plain is None and not isinstance(value, dict):
        raise StatusError(Code.UNIMPLEMENTED, f"Conversion of JSON Value: {shown(value)} to type: {dtype_name(dtype)}")
    if plain is None or type(value) not in plain:
        raise _type_error(value, dtype)
    try:
        return _converted([value], dtype)[0]
    except OverflowError:
        if dtype in _LIMITS:
            raise _type_error(value, dtype) from None
        raise invalid("JSON Parse error: Number too big to be stored in double.") from None
    except UnicodeEncodeError:
        raise invalid("JSON Parse error: The surrogate pair in string is invalid.") from None


def _type_error(value: Any, dtype: int) -> StatusError:
    return invalid(f"JSON Value: {shown(value)} Type: {kind(value)} is not of expected type: {dtype_name(dtype)}")


def _base64(value: dict[str, Any]) -> bytes:
    if not is_base64(value):
        raise invalid(f"JSON Value: {shown(value)} not formatted correctly for base64 data")
    text = re.sub(r"\s", "", value["b64"])
    match = _BASE64.fullmatch(text)
    bare = text.rstrip("=")
    missing = -len(bare) % 4
    if not match or missing == 3 or (match[1] and len(match[1]) != missing):
        raise invalid("Unable to base64 decode")
    return base64.b64decode(bare + "=" * missing)
