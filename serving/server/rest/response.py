"""Arrays to the JSON that TensorFlow Serving writes, byte for byte, linear in the elements (rules 4.3 and 4.7)."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from serving.server.rest import decimals as rest_decimals
from serving.server.status import StatusError, invalid
from serving.server.tensors import DTYPE_NAMES

_INDENT = "    "
_ESCAPED = re.compile(r'[\x00-\x1f"\\]')
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
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
    if not count:
        return _encoded(_EMPTY_ROWS)
    if several:
        keys = [f"{_INDENT * 3}{string(name)}: " for name in outputs]
        items = [_lines(name, array) for name, array in outputs.items()]
        objects = (
            ",\n".join([key + value for key, value in zip(keys, values, strict=True)])
            for values in zip(*items, strict=True)
        )
        text = ",".join([f"\n{_INDENT * 2}{{\n{item}\n{_INDENT * 2}}}" for item in objects])
    else:
        ((name, array),) = outputs.items()
        text = _laid_out(_tokens(name, array, 1 + array.ndim), array.shape, _ON_ONE_LINE)[1:-1]
    return _encoded(f'{{\n{_INDENT}"predictions": [{text}\n{_INDENT}]\n}}')


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


def _lines(name: str, array: np.ndarray) -> list[str]:
    """Return each row of an array as one line of JSON, inside of an object."""
    tokens = _tokens(name, array, 2 + array.ndim)
    size = math.prod(array.shape[1:])
    if array.ndim == 1:
        return tokens
    rows = (tokens[at * size : (at + 1) * size] for at in range(len(array)))
    return [_laid_out(row, array.shape[1:], _ON_ONE_LINE) for row in rows]


def _block(name: str, array: np.ndarray, depth: int) -> str:
    """Return an array as JSON with an element a line; `depth` levels are open around it."""
    breaks = ["\n" + _INDENT * (depth + level) for level in range(array.ndim + 1)]
    return _laid_out(_tokens(name, array, depth + array.ndim), array.shape, breaks)


_ON_ONE_LINE: list[str] = []


def _laid_out(tokens: list[str], shape: tuple[int, ...], breaks: list[str]) -> str:
    """Return the elements of an array in nested brackets.

    Args:
        breaks: what stands before a value at each level, the array's own first; empty: all is on one line.
    """
    if len(shape) == 1 and not breaks:
        return f"[{', '.join(tokens)}]"
    if 0 in shape:
        return _laid_out_empty(shape, breaks)
    rank = len(shape)
    between = [f",{text}" for text in breaks] or [", "] * (rank + 1)
    opening = [f"[{text}" for text in breaks[1:]] or ["["] * rank
    closing = [f"{text}]" for text in breaks[:-1]] or ["]"] * rank
    # between two elements, brackets of the levels that end there close and open again
    pieces = [between[rank]] * (2 * len(tokens) - 1)
    step = 1
    for level in range(rank - 1, 0, -1):
        step *= shape[level]
        text = "".join(closing[rank - 1 : level - 1 : -1]) + between[level] + "".join(opening[level:])
        pieces[2 * step - 1 :: 2 * step] = [text] * (len(tokens) // step - 1)
    pieces[::2] = tokens
    return "".join([*opening, *pieces, *reversed(closing)])


def _laid_out_empty(shape: tuple[int, ...], breaks: list[str]) -> str:
    """Return the brackets of an array without elements."""
    text = "[]"
    for level in range(shape.index(0) - 1, -1, -1):
        inner = breaks[level + 1] if breaks else ""
        separator = f",{inner}" if breaks else ", "
        text = f"[{inner}{separator.join([text] * shape[level])}{breaks[level] if breaks else ''}]"
    return text


def _tokens(name: str, array: np.ndarray, depth: int) -> list[str]:
    """Return the elements as JSON; `depth` levels are open around an element."""
    if array.dtype in rest_decimals.DTYPES:
        return rest_decimals.decimals(array)
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


def _escape(match: re.Match[str]) -> str:
    return _ESCAPES.get(match[0]) or f"\\u{ord(match[0]):04X}"


def _encoded(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half of a surrogate pair, out of a request
        return text.encode("utf-8", "replace")
