"""JSON values to arrays: the fast way and the way element by element agree."""

from __future__ import annotations

import random
import time
from typing import Any

import numpy as np
import pytest
from tensorflow.core.framework import types_pb2

from serving.server.rest import json as rest_json
from serving.server.rest import values as rest_values
from serving.server.status import StatusError

LEAVES: list[Any] = [0, 1, -1, 300, 2**31, 2**40, -(2**63), 2**64 - 1, 2**70, 1.0, 0.5, 1e39, float("nan"), True, False,
                     "a", "é", "\ud800", None, {"b64": "YQ=="}, {"b64": "*"}, {}]  # fmt: skip
DTYPES = [types_pb2.DT_FLOAT, types_pb2.DT_DOUBLE, types_pb2.DT_INT8, types_pb2.DT_INT32, types_pb2.DT_UINT8,
          types_pb2.DT_INT64, types_pb2.DT_UINT32, types_pb2.DT_UINT64, types_pb2.DT_BOOL, types_pb2.DT_STRING,
          types_pb2.DT_HALF]  # fmt: skip


def value(chance: random.Random, depth: int) -> Any:
    """Return a scalar or nested lists, more often regular than not."""
    leaves = chance.choice([[0, 1, -1], [0.5, 1], [True], ["a", "b"], LEAVES])
    sizes = [chance.choice([1, 1, 2, 3, 0]) for _ in range(depth)]

    def build(level: int) -> Any:
        if level == len(sizes) or chance.random() < 0.02:
            return chance.choice(leaves)
        return [build(level + 1) for _ in range(sizes[level] + (chance.random() < 0.03))]

    return build(0)


@pytest.mark.parametrize("dtype", DTYPES, ids=types_pb2.DataType.Name)
def test_both_ways_give_the_same_array_when_the_fast_one_takes_a_value(dtype: int) -> None:
    chance = random.Random(dtype)
    taken = refused = 0
    for _ in range(1500):
        given = value(chance, chance.randrange(4))
        fast = rest_values.regular(given, dtype)
        if fast is None:
            refused += 1
            continue
        slow = rest_values._by_element(given, dtype)
        assert (fast.dtype, fast.shape) == (slow.dtype, slow.shape)
        assert fast.tolist() == slow.tolist() or np.isnan(fast).any(), given
        taken += 1
    assert refused > 100
    assert taken > 100 or dtype == types_pb2.DT_HALF


def test_a_value_is_refused_when_it_is_deeper_than_an_array_can_be() -> None:
    given: Any = 1
    for _ in range(100):
        given = [given]
    with pytest.raises(StatusError, match="INVALID_ARGUMENT: JSON Value is nested deeper than the 32 dimensions"):
        rest_values.to_array(given, types_pb2.DT_FLOAT)


@pytest.mark.rule("4.6")
@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b'{"a": [NaN, -Inf, "Inf", "\\"Inf", Infinity, -NaN]}', "{'a': [nan, -inf, 'Inf', '\"Inf', inf, nan]}"),
        (b'{"a": 1, "b": 2, "a": 3}', "{'a': 1, 'b': 2}"),
        (b'\xef\xbb\xbf {"a": {}} [', "{'a': {}}"),
    ],
)  # fmt: skip
def test_json_is_read_as_rapidjson_reads_it(text: bytes, found: str) -> None:
    """Rule 4.6."""
    assert str(rest_json.parse(text)) == found


def test_json_is_refused_in_linear_time() -> None:
    """Every quote of these could be where a string begins: a search that goes back would take hours."""
    for body in (b"{" + b'\\"' * 500_000, b'{"a' + b'\\"' * 500_000, b'{"a": [1, Inf, "' + b'\\"' * 500_000):
        started = time.monotonic()
        with pytest.raises(StatusError, match="JSON Parse error"):
            rest_json.parse(body)
        assert time.monotonic() - started < 20


@pytest.mark.parametrize(
    ("given", "text"),
    [(1, "1"), (1.0, "1.0"), (0.1, "0.1"), (1e300, "1e+300"), ("é", '"é"'), (None, "null"), (True, "true"),
     ([1, {}], "[\n    1,\n    {}\n]"), (float("inf"), "Infinity")],
)  # fmt: skip
def test_values_in_errors_are_json(given: Any, text: str) -> None:
    assert rest_json.shown(given) == text
