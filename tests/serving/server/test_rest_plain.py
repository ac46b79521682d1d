"""Requests of one array of numbers: the fast way reads what the general way reads, and leaves the rest to it."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from tensorflow.core.framework import types_pb2

from serving.server.rest import json as rest_json
from serving.server.rest import plain
from serving.server.rest import request as rest_request
from serving.server.servable import End, Signature

DTYPES = [types_pb2.DT_FLOAT, types_pb2.DT_DOUBLE, types_pb2.DT_INT8, types_pb2.DT_INT32, types_pb2.DT_INT64,
          types_pb2.DT_UINT64, types_pb2.DT_BOOL, types_pb2.DT_STRING]  # fmt: skip


def signature(dtype: int, *names: str) -> Signature:
    ends = {name: End(name, dtype) for name in names or ("image",)}
    return Signature("serving_default", "", ends, {}, {})


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain, "_SHORTEST", 0)


def general(body: bytes, dtype: int) -> tuple[str, bool, Mapping[str, np.ndarray]]:
    document = rest_json.parse(body)
    return (rest_request.signature_name(document), *rest_request.inputs(document, signature(dtype)))


def written(chance: random.Random) -> bytes:
    """Return a request as clients write it, in one of several styles."""
    shape = [chance.choice([1, 2, 3, 4]) for _ in range(chance.choice([1, 2, 2, 3, 4]))]
    number = chance.choice([[0, 1, -1, 255], [0.5, -0.0, 1e300, 3], [2**31, -(2**63), 2**64 - 1, 2**70]])
    value = np.array([chance.choice(number) for _ in range(int(np.prod(shape)))], object).reshape(shape).tolist()
    document: dict[str, Any] = {chance.choice(["instances", "inputs"]): value}
    if chance.random() < 0.3:
        document["signature_name"] = chance.choice(["", "serving_default", "a b"])
        if chance.random() < 0.5:
            document = dict(reversed(document.items()))
    separators = chance.choice([(", ", ": "), (",", ":"), (" , ", " : ")])
    return json.dumps(document, separators=separators).encode()


def mutated(body: bytes, chance: random.Random) -> bytes:
    """Return a body in which one to three signs are gone, doubled, moved or others."""
    signs = list(body)
    for _ in range(chance.choice([1, 1, 2, 3])):
        at, other = chance.randrange(len(signs)), chance.randrange(len(signs))
        way = chance.randrange(4)
        if way == 0:
            del signs[at]
        elif way == 1:
            signs.insert(at, signs[other])
        elif way == 2:
            signs[at], signs[other] = signs[other], signs[at]
        else:
            signs.insert(at, chance.choice(b'[]{},:"-.eE01 \nNtn'))
    return bytes(signs)


@pytest.mark.rule("4.6")
@pytest.mark.parametrize("broken", [False, True])
def test_what_is_read_is_what_the_general_way_reads(broken: bool) -> None:
    chance = random.Random(int(broken))
    taken = 0
    for _ in range(20_000 if broken else 6000):
        body = written(chance)
        if broken:
            body = mutated(body, chance)
        dtype = chance.choice(DTYPES)
        found = plain.read(body)
        inputs = None if found is None else found.inputs(signature(dtype))
        if found is None or inputs is None:
            continue
        taken += 1
        name, row, arrays = general(body, dtype)
        assert (found.signature_name, found.row) == (name, row), body
        assert inputs.keys() == arrays.keys()
        for alias, array in arrays.items():
            assert (inputs[alias].dtype, inputs[alias].shape) == (array.dtype, array.shape), body
            assert inputs[alias].tobytes() == array.tobytes(), body
    assert taken > (500 if broken else 1200)


@pytest.mark.parametrize(
    "text",
    ["[[1,2],3[,4]]", "[[1,]2,[3,4]]", "[[1,2]3,[,4]]", "[1,,2]", "[,1]", "[1,]", "[]", "[[],[]]", "[[1],[2,3]]",
     "[1,[2]]", "[[1]]]", "[[[1]]", "[01]", "[1 2]", "[true]", "[NaN]", '["1"]', "[{}]", "[null]", "[1.]", "[--1]",
     "[1]]",
     "[" * 33 + "1" + "]" * 33, "[[1,2]\n,[3,4]]"],
)  # fmt: skip
def test_what_is_no_array_of_numbers_is_left_to_the_general_way(text: str) -> None:
    assert plain.read(f'{{"instances":{text}}}'.encode()) is None


@pytest.mark.parametrize(
    "body",
    [b'{"instances":[1],"instances":[2]}', b'{"instances":[1],"inputs":[2]}', b'{"instances":[1],"other":2}',
     b'{"signature_name":"a","instances":[1],"signature_name":"b"}', b'{"instances":[1]} x', b"[1]", b"",
     b'{"instances":1}'],
)  # fmt: skip
def test_other_documents_are_left_to_the_general_way(body: bytes) -> None:
    assert plain.read(body) is None


def test_array_that_the_signature_does_not_take_is_left_to_the_general_way() -> None:
    whole, other = (plain.read(b'{"inputs":[[%s]]}' % text) for text in (b"1", b"1.5"))
    assert whole is not None
    assert other is not None
    for dtype, takes_whole, takes_other in (
        (types_pb2.DT_FLOAT, True, True), (types_pb2.DT_INT32, True, False), (types_pb2.DT_STRING, False, False),
        (types_pb2.DT_BOOL, False, False),
    ):  # fmt: skip
        assert (whole.inputs(signature(dtype)) is not None) is takes_whole
        assert (other.inputs(signature(dtype)) is not None) is takes_other
    assert whole.inputs(signature(types_pb2.DT_FLOAT, "a", "b")) is None


def test_brackets_are_looked_at_in_linear_time() -> None:
    for text in (
        b"[" * 2_000_000,
        b"[[" + b"[]," * 700_000,
        b"[" + b"[1]," * 500_000 + b"[1]]]",
        b"[" + b"[[1]]," * 400_000,
    ):
        started = time.monotonic()
        plain.read(b'{"instances":' + text + b"]}")
        assert time.monotonic() - started < 5
