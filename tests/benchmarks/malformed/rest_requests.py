"""Requests over REST: right ones, and what can be wrong with them, HTTP itself included. `KINDS` is the mix."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np

from tests.benchmarks.malformed import oracle, samples
from tests.benchmarks.malformed.models import MODELS


@dataclass(frozen=True)
class RestCall:
    """A call.

    Attributes:
        data: all bytes of the request.
        expected: the status of its answer; None: there is none, because the client leaves.
        ends: the server ends the connection after it.
        outputs: alias -> array, where the answer is known.
    """

    kind: str
    data: bytes
    expected: int | None
    ends: bool = False
    outputs: dict[str, np.ndarray] | None = None


def make(random: Random, kind: str) -> RestCall:
    """Return a request of a kind."""
    return KINDS[kind][1](random, kind)


def _bytes(path: str, body: bytes, method: str = "POST", *headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: h", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def _path(model: str, verb: str = ":predict") -> str:
    return f"/v1/models/{model}{verb}"


def _call(kind: str, model: str, document: Any, outputs: dict[str, np.ndarray] | None = None) -> RestCall:
    expected = oracle.rest("POST", _path(model), document)
    return RestCall(kind, _bytes(_path(model), json.dumps(document).encode()), expected, outputs=outputs)


def _right(random: Random) -> tuple[str, dict[str, Any], dict[str, np.ndarray]]:
    """Return model, document and answer."""
    while True:
        model, signature = samples.choose(random)
        if signature != "half":  # JSON has none
            break
    given = samples.arrays(random, model, signature)
    values = {
        alias: np.vectorize(bytes.decode, otypes=[object])(array).tolist() if array.dtype == object else array.tolist()
        for alias, array in given.items()
    }
    document: dict[str, Any] = {"signature_name": signature}
    if random.random() < 0.5:
        rows = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
        plain = len(values) == 1 and random.random() < 0.5
        document["instances"] = [next(iter(row.values())) for row in rows] if plain else rows
    else:
        document["inputs"] = next(iter(values.values())) if len(values) == 1 else values
    return model, document, samples.answers(model, signature, given)


def _answered(random: Random, kind: str) -> RestCall:
    return _call(kind, *_right(random))


def _keys(random: Random, kind: str) -> RestCall:
    """Keys of the document: missing, both, empty, of a wrong type, unknown."""
    model, document, _ = _right(random)
    key = random.choice(("instances", "inputs", "signature_name", "x"))
    document[key] = random.choice(
        (None, 1, 1.5, True, "nope", "", [], {}, [[]], [None], "serving_default", [1], {"x": 1})
    )
    if random.random() < 0.5:
        document.pop(random.choice(sorted(document)))
    return _call(kind, model, document)


_ODD: tuple[Any, ...] = (
    None, True, False, "x", "", "1", 1.5, -0.0, 1e300, 0, -1, 256, 2**31, 2**63, -(2**63), 2**64, float("nan"),
    float("inf"), {}, [], [[]], {"b64": "YQ=="}, {"b64": "Y"}, {"b64": "YQ="}, {"b64": 1}, {"b64": "-_"}, {"x": 1},
    {"b64": "YQ", "c": 1}, "é\u0000", "x" * 2000,
)  # fmt: skip


def _replace(random: Random, value: Any, depth: int) -> Any:
    """Put something odd at a random place."""
    if depth and isinstance(value, list) and value:
        at = random.randrange(len(value))
        if random.random() < 0.1:
            return value[:at] + value[at + 1 :]
        return [*value[:at], _replace(random, value[at], depth - 1), *value[at + 1 :]]
    if depth and isinstance(value, dict) and value:
        key = random.choice(sorted(value))
        if random.random() < 0.1:
            return {other: value[other] for other in value if other != key}
        name = key if random.random() < 0.9 else random.choice(("z", "", "b64"))
        return {**value, name: _replace(random, value[key], depth - 1)}
    return random.choice(_ODD)


def _values(random: Random, kind: str) -> RestCall:
    model, document, _ = _right(random)
    for key in ("instances", "inputs"):
        if key in document:
            document[key] = _replace(random, document[key], random.randint(0, 5))
    return _call(kind, model, document)


def _shape(random: Random, kind: str) -> RestCall:
    """A full array of another rank or other sizes; ragged ones are among the odd values."""
    model = random.choice(("half", "convolution", "guarded", "flatten", "graph1", "pair"))
    sizes = [random.choice((1, 2, 3, 4, 8)) for _ in range(random.randint(0, 5))]
    if random.random() < 0.05:
        sizes = [1] * random.randint(6, 60)
    value = np.ones(sizes, np.float32).tolist()
    aliases = MODELS[model].signatures["serving_default"].inputs
    inputs = {alias: value if dtype == "float" else [1, 2] for alias, dtype in aliases.items()}
    form = random.choice(("inputs", "instances"))
    return _call(kind, model, {form: inputs if form == "inputs" else value if len(inputs) == 1 else [inputs]})


def _document(kind: str, model: str, body: bytes, *, broken: bool = True) -> RestCall:
    return RestCall(kind, _bytes(_path(model), body), 400 if broken else 200)


def _cut(random: Random, kind: str) -> RestCall:
    """JSON without its end; the path may be wrong as well, which is looked at later."""
    model, document, _ = _right(random)
    body = json.dumps(document).encode()
    return _document(kind, random.choice((model, "nope")), body[: random.randrange(len(body))])


def _not_json(random: Random, kind: str) -> RestCall:
    body = random.choice((b"", b" \n", b"{", b"[1]", b"1", b'"x"', b"null", b"{1: 2}", b"{'a': 1}", b'{"a" 1}',
        b'{"a": 01}', b'{"a": tru}', b'{"a": "\\x"}', b'{"a": "\\ud800"}'[:13], b"\x1f\x8b", b"[" * 100_000,
        b'{"a": ' * 50_000, b'{"instances": [' + b"[" * 3000, b"\x00", b"<html>", b'{"a": -}', b'{"a": 1,}',
        b'{"instances": [' + b"9" * 5000 + b"]}", b'{"a": "\x01"}'))  # fmt: skip
    return _document(kind, random.choice(("half", "nope")), body)


def _noise(random: Random, kind: str) -> RestCall:
    body = b"\x80" + random.randbytes(random.randint(0, 200))  # no JSON begins so
    return _document(kind, random.choice(list(MODELS)), body)


def _lenient(random: Random, kind: str) -> RestCall:
    """What is no JSON elsewhere: bytes after the end, a key twice, NaN; and gzip."""
    body = random.choice((b'{"instances": [1]} garbage \xff\x00', b'{"instances": [NaN, Inf, -Infinity, Infinity]}',
        b'{"instances": [1], "instances": "x"}', b'{"instances": [1e400]}'[:0] + b'{"inputs": 1}}}}',
        b'\n\t {"z": {"z": [null]}, "inputs": [[]]}'))  # fmt: skip
    if random.random() < 0.3:
        packed = gzip.compress(body)
        return RestCall(kind, _bytes(_path("half"), packed, "POST", "Content-Encoding: gzip"), 200)
    return _document(kind, "half", body, broken=False)


def _deep(random: Random, kind: str) -> RestCall:
    """Nested deeper than a tensor has dimensions, and correctly closed."""
    depth = random.choice((33, 60, 65, 100, 500, 900, 990, 1100, 5000, 50_000))
    body = random.choice((b'{"instances": %s}', b'{"inputs": %s}', b'{"signature_name": %s}')) % (
        b"[" * depth + b"1" + b"]" * depth
    )
    if random.random() < 0.3:
        body = b'{"instances": ' + b'{"x": ' * depth + b"1" + b"}" * (depth + 1)
    return _document(kind, "half", body)


def _route(random: Random, kind: str) -> RestCall:
    method = random.choice(("GET", "GET", "POST", "PUT", "DELETE", "HEAD", "PATCH"))
    model = random.choice(("half", "half", "pair", "nope", "a%20b", "%68alf", "m" * 3000, "", "half%2F", "%"))
    which = random.choice(("", "", "/versions/1", "/versions/2", "/versions/x", f"/versions/{2**63}", "/versions/",
        f"/versions/{2**63 - 1}", "/labels/stable", "/labels/gone", "/labels/L", "/version/1", "/versions/1/labels/x",
        "/versions/-1"))  # fmt: skip
    verb = random.choice(("", ":predict", ":PREDICT", "/metadata", "/", ":predict/", ":nope", "/metadata/", "?x=1"))
    path = (
        random.choice(("/v1/models/", "/v1/models/", "/V1/Models/", "/v1/", "/v2/models/", "/")) + model + which + verb
    )
    body = b'{"instances": [1]}' if method == "POST" else b""
    document = json.loads(body) if body else None
    return RestCall(kind, _bytes(path, body, method), oracle.rest(method, path, document))


_HEAD = b"POST /v1/models/half:predict HTTP/1.1\r\n"
# what RFC 9112 has a server refuse, or not understand; the connection ends after it
_BROKEN = (
    (b"garbage\r\n\r\n", 400),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    (b"GET  HTTP/1.1\r\n\r\n", 400),
    (b"GET /v1/models/half\r\n\r\n", 400),
    (b"BREW /v1/models/half HTTP/1.1\r\n\r\n", 501),
    (_HEAD + b"no colon\r\n\r\n", 400),
    (_HEAD + b"Content-Length : 1\r\n\r\n", 400),
    (_HEAD + b"Content-Length: -1\r\n\r\n", 400),
    (_HEAD + b"Content-Length: 0x10\r\n\r\n", 400),
    (_HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
    (_HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
    (_HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n", 400),
    (_HEAD + b"Transfer-Encoding: gzip\r\n\r\n", 501),
)


def _broken(random: Random, kind: str) -> RestCall:
    data, status = random.choice(_BROKEN)
    return RestCall(kind, data, status, ends=True)


def _vanishing(random: Random, kind: str) -> RestCall:
    """A client that leaves in the middle."""
    model, document, _ = _right(random)
    data = _bytes(_path(model), json.dumps(document).encode())
    data = random.choice((data, data.replace(b"Content-Length: ", b"Content-Length: 9999")))
    return RestCall(kind, data[: random.randrange(1, len(data))], None, ends=True)


def _oversized(random: Random, kind: str) -> RestCall:
    """Megabytes that do not fit the model."""
    if random.random() < 0.5:
        return _call(kind, "guarded", {"inputs": [[1.5] * 1000] * random.randint(100, 700)})
    return _call(kind, "half", {"instances": [[1] * 1000] * random.randint(100, 500) + ["x"]})


def _unhalf(random: Random, kind: str) -> RestCall:
    """A dtype that JSON has not."""
    return _call(kind, "same", {"signature_name": "half", random.choice(("inputs", "instances")): [1, 2.5]})


# kind -> share of the mix, and what makes it
KINDS: dict[str, tuple[int, Callable[[Random, str], RestCall]]] = {
    "right": (40, _answered),
    "keys of the document": (30, _keys),
    "values": (100, _values),
    "another shape": (40, _shape),
    "a dtype without JSON": (5, _unhalf),
    "truncated": (40, _cut),
    "no JSON": (30, _not_json),
    "random bytes": (20, _noise),
    "lenient JSON, gzip": (10, _lenient),
    "nested deeply": (5, _deep),
    "routes": (60, _route),
    "no HTTP": (30, _broken),
    "client leaves in the middle": (10, _vanishing),
    "oversized": (1, _oversized),
}
