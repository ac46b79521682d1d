"""Arrays to the JSON that TensorFlow Serving writes, byte for byte, linear in the elements (rules 4.3 and 4.7)."""

from __future__ import annotations

import base64
import math
import re
import struct
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from serving.server.status import StatusError, invalid
from serving.server.tensors import DTYPE_NAMES

_INDENT = "    "
_ESCAPED = re.compile(r'[\x00-\x1f"\\]')
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_FEW = 24  # below this, numpy's calls cost more than they save
# significant digits: shortest try, and what always reads back to the same number
_DIGITS = {np.dtype(np.float32): ("%.6g", "%.9g"), np.dtype(np.float64): ("%.6g", "%.17g")}
_SINGLE = struct.Struct("f")
_INTEGERS = frozenset(np.dtype(kind) for kind in ("i1", "i2", "i4", "i8", "u1", "u4", "u8"))


def error(text: str) -> bytes:
    """Return the body of an error."""
    return _encoded(f'{{\n{_INDENT}"error": {string(text)}\n}}')


def string(text: str) -> str:
    """Return a JSON string; what is not ASCII stays as it is."""
    return f'"{_ESCAPED.sub(_escape, text)}"'


def rows(outputs: Mapping[str, np.ndarray]) -> bytes:
    """Return `{"predictions": [...]}`: an item per row, on one line each.

    Args:
        outputs: name -> array [n, ...]; one: bare values; several: objects.

    Raises:
        StatusError: an output has no first dimension, or another than the one before, or a dtype without JSON.
    """
    count = None
    for name, array in outputs.items():
        if array.ndim == 0:
            raise invalid(f"Tensor name: {name} has no shape information ")
        if count is not None and len(array) != count:
            raise invalid(f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {count}")
        count = len(array)
    several = len(outputs) > 1
    items = [_lines(name, array, depth=3 if several else 2) for name, array in outputs.items()]
    if several:
        keys = [f"{_INDENT * 3}{string(name)}: " for name in outputs]
        objects = (
            ",\n".join([key + value for key, value in zip(keys, values, strict=True)])
            for values in zip(*items, strict=True)
        )
        text = ",".join([f"\n{_INDENT * 2}{{\n{item}\n{_INDENT * 2}}}" for item in objects])
    else:
        text = ", ".join(items[0])
    return _encoded(f'{{\n{_INDENT}"predictions": [{text}\n{_INDENT}]\n}}' if count else _EMPTY_ROWS)


_EMPTY_ROWS = f'{{\n{_INDENT}"predictions": []\n}}'


def columns(outputs: Mapping[str, np.ndarray]) -> bytes:
    """Return `{"outputs": ...}`: one output as its value, several as an object; every element on a line of its own.

    Raises:
        StatusError: a dtype without JSON.
    """
    if len(outputs) == 1:
        ((name, array),) = outputs.items()
        return _encoded(f'{{\n{_INDENT}"outputs": {_block(name, array, depth=1)}\n}}')
    members = [f"{_INDENT * 2}{string(name)}: {_block(name, array, depth=2)}" for name, array in outputs.items()]
    return _encoded(f'{{\n{_INDENT}"outputs": {{\n' + ",\n".join(members) + f"\n{_INDENT}}}\n}}")


def _lines(name: str, array: np.ndarray, depth: int) -> list[str]:
    """Return each row of an array as one line of JSON; `depth` levels are open around a row."""
    found = _tokens(name, array, depth + array.ndim - 1)
    for axis in range(array.ndim - 1, 0, -1):
        size, groups = array.shape[axis], math.prod(array.shape[:axis])
        found = ["[" + ", ".join(found[at * size : (at + 1) * size]) + "]" for at in range(groups)]
    return found


def _block(name: str, array: np.ndarray, depth: int) -> str:
    """Return an array as JSON with an element a line; `depth` levels are open around it."""
    found = _tokens(name, array, depth + array.ndim)
    for axis in range(array.ndim - 1, -1, -1):
        size, groups = array.shape[axis], math.prod(array.shape[:axis])
        if size == 0:
            found = ["[]"] * groups
            continue
        inner, outer = "\n" + _INDENT * (depth + axis + 1), "\n" + _INDENT * (depth + axis)
        separator = "," + inner
        found = ["[" + inner + separator.join(found[at * size : (at + 1) * size]) + outer + "]" for at in range(groups)]
    return found[0]


def _tokens(name: str, array: np.ndarray, depth: int) -> list[str]:
    """Return the elements as JSON; `depth` levels are open around an element."""
    if array.dtype in _DIGITS:
        return decimals(array)
    if array.dtype in _INTEGERS:
        return list(map(str, array.ravel().tolist()))
    if array.dtype == np.bool_:
        return ["true" if value else "false" for value in array.ravel().tolist()]
    if array.dtype == object:
        values = array.ravel().tolist()
        if name.endswith("_bytes"):
            head, tail = f'{{\n{_INDENT * (depth + 1)}"b64": "', f'"\n{_INDENT * depth}}}'
            return [f"{head}{base64.b64encode(value).decode()}{tail}" for value in values]
        return [string(value.decode("utf-8", "surrogateescape")) for value in values]
    raise _no_json(array.dtype)


def _no_json(dtype: np.dtype[Any]) -> StatusError:
    return invalid(f"Failed to write JSON value for tensor type: {DTYPE_NAMES.get(dtype, dtype.name)}")


def decimals(array: np.ndarray) -> list[str]:
    """Return float32 or float64 elements as JSON: 6 digits where they read back to the same number, else 9 or 17."""
    flat = array.ravel()
    values = flat.tolist()
    short, full = _DIGITS[array.dtype]
    if len(values) < _FEW:
        read_back = float if array.dtype == np.float64 else _as_float32
        return [_decimal(value, short, full, read_back) for value in values]
    found = _formatted(short, values)
    # nan differs from itself; it is set right below
    differing = np.flatnonzero(np.fromstring(" ".join(found), array.dtype, sep=" ") != flat).tolist()
    for index, text in zip(differing, _formatted(full, [values[index] for index in differing]), strict=True):
        found[index] = text
    with np.errstate(invalid="ignore"):
        whole = np.flatnonzero((np.trunc(flat) == flat) | ~np.isfinite(flat)).tolist()
    for index in whole:
        found[index] = _finished(found[index])
    return found


def _decimal(value: float, short: str, full: str, read_back: Callable[[str], float]) -> str:
    text = short % value
    if read_back(text) != value:
        text = full % value
    return _finished(text)


def _as_float32(text: str) -> float:
    value: float = _SINGLE.unpack(_SINGLE.pack(float(text)))[0]
    return value


def _formatted(form: str, values: list[float]) -> list[str]:
    return (f"{form} " * len(values) % tuple(values)).split()


_NOT_FINITE = {"nan": "NaN", "-nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def _finished(text: str) -> str:
    """Return the text as JSON's grammar, or at least TensorFlow Serving's, has it."""
    if text in _NOT_FINITE:
        return _NOT_FINITE[text]
    return text if "." in text or "e" in text else text + ".0"


def _escape(match: re.Match[str]) -> str:
    return _ESCAPES.get(match[0]) or f"\\u{ord(match[0]):04X}"


def _encoded(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half of a surrogate pair, out of a request
        return text.encode("utf-8", "replace")
