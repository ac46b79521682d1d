"""The JSON of :classify and :regress requests and answers (rules 4.6 and 4.7)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

import numpy as np
from tensorflow.core.example import example_pb2
from tensorflow.core.framework import types_pb2

from serving.server import examples
from serving.server.rest.decimals import decimals
from serving.server.rest.json import kind, shown
from serving.server.rest.response import string
from serving.server.rest.values import is_base64, to_array
from serving.server.status import StatusError, invalid

_EXAMPLES, _CONTEXT = "examples", "context"
_NO_LABEL, _NO_SCORE = '""', "0.0"
_INT64, _UINT64 = (-(2**63), 2**63 - 1), 2**64 - 1


def serialized(document: dict[str, Any]) -> list[bytes]:
    """Return the examples of a request, serialized; each starts with the context, if there is one.

    Raises:
        StatusError: there are none, or one is no object of features.
    """
    context = _example(document[_CONTEXT]) if _CONTEXT in document else b""
    if _EXAMPLES not in document:
        # the text is the same for a regression
        raise _misformed(document, f"When method is classify, key '{_EXAMPLES}' is expected and was not found")
    listed = document[_EXAMPLES]
    if not isinstance(listed, list):
        raise _misformed(document, f"Expecting '{_EXAMPLES}' value to be an list/array")
    if not listed:
        raise _misformed(document, f"'{_EXAMPLES}' value is an empty array")
    return [context + _example(value) for value in listed]


def _misformed(document: dict[str, Any], text: str) -> StatusError:
    return invalid(f"JSON Value: {shown(document)} {text}")


def _example(value: Any) -> bytes:
    """Return a serialized tf.train.Example; its features' names are Unicode, as protobuf demands."""
    if not isinstance(value, dict):
        raise invalid(f"Example must be JSON object but got JSON {kind(value)}")
    example = example_pb2.Example()
    features = example.features.feature
    for name, content in value.items():
        feature = features[_bytes(name).decode("utf-8", "replace")]
        _fill(feature, name, content if isinstance(content, list) else [content])
    data: bytes = example.SerializeToString()
    return data


def _fill(feature: Any, name: str, values: list[Any]) -> None:
    """Write values into a tf.train.Feature; all are of the first one's type."""
    wanted = None
    for value in values:
        found = _type(name, value)
        if wanted not in (None, found):
            raise invalid(f"Unexpected element type in feature: {name} expecting type: {wanted}")
        wanted = found
        if type(value) is int and _INT64[1] < value <= _UINT64:
            raise invalid(f"Feature: {name} has uint64_t element. Only int64_t is supported.")
    if wanted == "int64":
        feature.int64_list.value.extend(map(int, values))  # true is 1
    elif wanted == "float":
        try:
            feature.float_list.value.extend(values)
        except OverflowError:  # an integer of hundreds of digits
            raise invalid("JSON Parse error: Number too big to be stored in double.") from None
    elif wanted == "bytes":
        feature.bytes_list.value.extend(map(_bytes, values))


def _bytes(value: Any) -> bytes:
    """Return the bytes of a JSON string, or of {"b64": "..."}."""
    if isinstance(value, str) and value.isascii():
        return value.encode()
    found: bytes = to_array(value, types_pb2.DT_STRING).item()
    return found


def _type(name: str, value: Any) -> str:
    """Return in which list of a feature a value goes."""
    if isinstance(value, str) or is_base64(value):
        return "bytes"
    if isinstance(value, int):  # a larger one is read as double
        return "int64" if _INT64[0] <= value <= _UINT64 else "float"
    if isinstance(value, float):
        return "float"
    raise invalid(f"Feature: {name} has element with unexpected JSON type: {kind(value)}")


def classification(outputs: Mapping[str, np.ndarray], count: int) -> bytes:
    """Return `{"results": [[["label", 0.5], ...], ...]}`: an example's classes on one line.

    Args:
        outputs: alias -> what was fetched.
        count: of the examples.

    Raises:
        StatusError: an output is of another shape or dtype.
    """
    classes, scores = examples.classified(outputs, count)
    labels = [] if classes is None else [_label(value) for value in classes.ravel().tolist()]
    numbers = [] if scores is None else decimals(scores)
    pairs = [f"[{label or _NO_LABEL}, {number or _NO_SCORE}]" for label, number in zip_longest(labels, numbers)]
    width = len(pairs) // count
    rows = [f"[{', '.join(pairs[at * width : (at + 1) * width])}]" for at in range(count)]
    return f'{{\n    "results": [{", ".join(rows)}\n    ]\n}}'.encode("utf-8", "surrogateescape")


def _label(value: bytes) -> str:
    return string(value.decode("utf-8", "surrogateescape"))


def regression(outputs: Mapping[str, np.ndarray], count: int) -> bytes:
    """Return `{"results": [3.0, ...]}`, all on one line; see `classification`."""
    return f'{{\n    "results": [{", ".join(decimals(examples.regressed(outputs, count)))}]\n}}'.encode()
