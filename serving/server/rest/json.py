"""JSON as rapidjson reads it, where that differs from Python's json (rule 4.6), and values in error texts."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import numpy as np

from serving.server.rest import decimals as rest_decimals
from serving.server.rest import response as rest_response
from serving.server.status import StatusError, invalid

_SPACE = re.compile(r"[ \t\n\r]*")
# Strings are skipped, so that a token inside one stays as it is; one that is open reaches to the end. Possessive, so
# that no text makes the search go back: its time is linear.
_STRING = r'"(?:[^"\\]|\\.)*+"?'
_TOKENS = re.compile(_STRING + r"|-?Inf(?:inity)?|-NaN", re.DOTALL)
_STRINGS = re.compile(_STRING, re.DOTALL)
_REASONS = {
    "Expecting value": "Invalid value.",
    "Expecting property name enclosed in double quotes": "Missing a name for object member.",
    "Expecting ':' delimiter": "Missing a colon after a name of object member.",
    "Invalid control character at": "Invalid encoding in string.",
    "Invalid \\escape": "Invalid escape character in string.",
    "Invalid \\uXXXX escape": "Incorrect hex digit after \\u escape in string.",
    "Unterminated string starting at": "Missing a closing quotation mark in string.",
}
_LARGEST_FLOAT32 = float(np.finfo(np.float32).max)
_KINDS = {type(None): "Null", dict: "Object", list: "Array", str: "String", int: "Number", float: "Number"}


def parse(body: bytes) -> dict[str, Any]:
    """Return the object at the start of a body; what follows it is not looked at.

    The first of equal keys counts; NaN, Inf, Infinity and -Infinity are numbers. Bytes that are no UTF-8 survive as
    surrogate escapes.

    Raises:
        StatusError: there is none.
    """
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    text = body.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    start = _SPACE.match(text).end()  # type: ignore[union-attr]
    if start == len(text):
        raise _parse_error("The document is empty.", start)
    document = _decoded(text, start)
    if not isinstance(document, dict):
        raise invalid(f"JSON Value: {shown(document)} Is not object")
    return document


def _first_wins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else dict(reversed(pairs))


_DECODER = json.JSONDecoder(object_pairs_hook=_first_wins)


def _decoded(text: str, start: int) -> Any:
    try:
        return _DECODER.raw_decode(text, start)[0]
    except json.JSONDecodeError as error:
        plain = _TOKENS.sub(_infinity, text)
        if plain != text:
            return _decoded(plain, start)
        raise _parse_error(_reason(error), len(text[: error.pos].encode("utf-8", "replace"))) from None
    except RecursionError:
        raise _parse_error("Nested too deeply.", start) from None
    except ValueError:  # an integer of thousands of digits
        raise _parse_error("Number too big to be stored in double.", start) from None


def _infinity(match: re.Match[str]) -> str:
    token = match[0]
    if token[0] == '"':
        return token
    if token == "-NaN":
        return "NaN"
    return "-Infinity" if token[0] == "-" else "Infinity"


def _reason(error: json.JSONDecodeError) -> str:
    if error.msg == "Expecting ',' delimiter":
        # whether an object or an array is open is not said; the last bracket tells in all but crossed nesting
        before = _STRINGS.sub("", error.doc[: error.pos])
        depth = {"}": 0, "]": 0}
        for sign in reversed(before):
            if sign in depth:
                depth[sign] += 1
            elif sign in "{[":
                closing = "}" if sign == "{" else "]"
                if depth[closing] == 0:
                    kind = "} after an object member" if sign == "{" else "] after an array element"
                    return f"Missing a comma or {kind}."
                depth[closing] -= 1
    return _REASONS.get(error.msg, "Invalid value.")


def _parse_error(reason: str, offset: int) -> StatusError:
    return invalid(f"JSON Parse error: {reason} at offset: {offset}")


def kind(value: Any) -> str:
    """Return rapidjson's name for the type of a value."""
    return str(value) if isinstance(value, bool) else _KINDS[type(value)]


def shown(value: Any) -> str:
    """Return a value as error texts show it."""
    if isinstance(value, float):
        single = math.isfinite(value) and abs(value) <= _LARGEST_FLOAT32
        return rest_decimals.decimals(np.array([value], np.float32 if single else np.float64))[0]
    if isinstance(value, str):
        return rest_response.string(value)
    return json.dumps(value, indent=4, ensure_ascii=False)
