"""A :predict request that is one array of numbers, as images are, read without a Python list for each row.

What is read here is what `json.parse` and `request.inputs` would read; all else is left to them, errors too. Brackets
and commas alone are looked at, as bytes: where they are those of an array of one shape, and no number stands where
there is no place for one, the rest is a flat list of numbers.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np
from pydantic_core import from_json

from serving.server.rest.values import HIGHEST_RANK, shaped
from serving.server.servable import Signature

_SHORTEST = 1 << 11  # below, the general way takes no longer
_NAME = rb'"signature_name": ?"(\w*)"'
_HEAD = re.compile(rb'\{ ?(?:%s, ?)?"(instances|inputs)": ?(?=\[)' % _NAME)
_TAIL = re.compile(rb" ?(?:, ?%s ?)?\}\s*" % _NAME)
_NUMBERS = b"0123456789+-.eE"
_OPENING, _CLOSING, _COMMA = b"[],"


@dataclass(frozen=True)
class Plain:
    """A request.

    Attributes:
        row: whether in row form (`instances`).
        signature_name: empty where it is not given.
        flat: its numbers, int or float.
        whole: whether all are integers as they are written.
        shape: of the array.
    """

    row: bool
    signature_name: str
    flat: list[int | float]
    whole: bool
    shape: tuple[int, ...]

    def inputs(self, signature: Signature) -> dict[str, np.ndarray] | None:
        """Return alias -> array, or None where the signature has other inputs than one of numbers like these."""
        if len(signature.inputs) != 1:
            return None
        ((alias, end),) = signature.inputs.items()
        array = shaped(self.flat, (int,) if self.whole else (int, float), self.shape, end.dtype)
        return None if array is None else {alias: array}


def read(body: bytes) -> Plain | None:
    """Return the request of a body, or None where it may be anything else."""
    if len(body) < _SHORTEST or (head := _HEAD.match(body)) is None:
        return None
    end = body.rfind(b"]") + 1
    tail = _TAIL.fullmatch(body, end)
    if tail is None or (head[1] is not None and tail[1] is not None):
        return None
    text = body[head.end() : end].replace(b", ", b",")
    marks = text.translate(None, _NUMBERS)
    shape = _shape(marks)
    if shape is None or _misplaced(text):
        return None
    try:
        flat = from_json(b"[%s]" % text.translate(None, b"[]"))
    except ValueError:
        return None
    if len(flat) != math.prod(shape):
        return None
    whole = not any(sign in text for sign in (b".", b"e", b"E"))
    return Plain(head[2] == b"instances", (head[1] or tail[1] or b"").decode(), flat, whole, shape)


def _shape(marks: bytes) -> tuple[int, ...] | None:
    """Return the shape of the array whose brackets and commas these are, or None where they are no array's."""
    rank = len(marks) - len(marks.lstrip(b"["))
    if rank > HIGHEST_RANK:
        return None
    sizes: list[int] = []
    inner = b""
    for level in reversed(range(rank)):  # of each, the first list: it ends where as many close at once as are open
        open_here = rank - level
        end = marks.find(b"]" * open_here) + open_here
        if end < open_here:
            return None
        sizes.append((end - level - 1) // (len(inner) + 1))
        inner = b"[%s]" % b",".join([inner] * sizes[-1])
    return tuple(reversed(sizes)) if inner == marks else None


def _misplaced(text: bytes) -> bool:
    """Return whether anything but a comma or a bracket stands before one that opens or behind one that closes."""
    signs = np.frombuffer(text, np.uint8)
    before, behind = signs[:-1], signs[1:]
    opened = (behind == _OPENING) & (before != _OPENING) & (before != _COMMA)
    closed = (before == _CLOSING) & (behind != _CLOSING) & (behind != _COMMA)
    return bool((opened | closed).any())
