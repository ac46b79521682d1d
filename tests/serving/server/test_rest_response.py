"""Floats as rule 4.7 formats them, on the way for few elements and on the way for many."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from serving.server.rest.decimals import decimals
from serving.server.rest.response import columns, error, rows

FLOAT32 = {
    3.0: "3.0", 0.1: "0.1", 9e6: "9e+06", 3e-5: "3e-05", -0.0: "-0.0", 1 / 3: "0.333333343",
    123456.0: "123456.0", 1234567.0: "1234567.0", 123456789.0: "123456792.0", 1e9: "1e+09", 16777216.0: "16777216.0",
    0.2: "0.2", 1e-45: "1.4013e-45", 3.4028235e38: "3.40282347e+38", float("inf"): "Infinity",
    float("-inf"): "-Infinity", float("nan"): "NaN", 1.5: "1.5", -2.25: "-2.25", 999999.0: "999999.0", 1e6: "1e+06",
}  # fmt: skip
FLOAT64 = {
    3.0: "3.0", 0.1: "0.1", 1 / 3: "0.33333333333333331", 1234567.0: "1234567.0", 1e300: "1e+300", 1e15: "1e+15",
    1234567890123456.0: "1234567890123456.0", 0.1 + 0.2: "0.30000000000000004", float("nan"): "NaN",
    float("-inf"): "-Infinity", 5e-324: "4.94066e-324",
}  # fmt: skip


@pytest.mark.parametrize(("dtype", "table"), [(np.float32, FLOAT32), (np.float64, FLOAT64)])
@pytest.mark.parametrize("times", [1, 50])
def test_floats_read_as_in_the_table_when_they_are_few_or_many(dtype: Any, table: dict[float, str], times: int) -> None:
    for value, text in table.items():
        assert decimals(np.full(times, value, dtype)) == [text] * times
    everything = np.array([*table] * times, dtype)
    assert decimals(everything) == [*table.values()] * times


@pytest.mark.parametrize(("dtype", "bits", "digits"), [(np.float32, np.uint32, 9), (np.float64, np.uint64, 17)])
def test_floats_are_the_shorter_of_two_texts_when_it_reads_back(dtype: Any, bits: Any, digits: int) -> None:
    """The rule itself, number by number, for numbers of every size."""
    random = np.random.default_rng(0)
    values = random.integers(0, np.iinfo(bits).max, 3000, bits, endpoint=True).view(dtype)
    values = np.concatenate([values, random.normal(size=2000).astype(dtype), np.arange(-500, 500, dtype=dtype) / 8])
    values = values[np.isfinite(values)]
    expected = []
    for value in values:
        text = f"{value:g}"
        if dtype(text) != value:
            text = f"{value:.{digits}g}"
        expected.append(text if "." in text or "e" in text else text + ".0")
    assert decimals(values) == expected
    assert [decimals(values[at : at + 1])[0] for at in range(len(values))] == expected
    assert [text for at in range(0, len(values), 100) for text in decimals(values[at : at + 100])] == expected
    assert all(dtype(text) == value for text, value in zip(expected, values, strict=True))


@pytest.mark.rule("4.7")
@pytest.mark.parametrize("digits", [5, 6, 7, 8, 9, 10])
@pytest.mark.parametrize("exponent", range(-5, 7))
def test_floats_read_the_same_alone_and_among_many(digits: int, exponent: int) -> None:
    """Numbers of common size with few and with many digits, at the ends of the powers of ten, 0 among them."""
    random = np.random.default_rng(digits)
    values = (random.integers(10 ** (digits - 1), 10**digits, 600) / 10 ** (digits - 1) * 10.0**exponent).astype("f4")
    values[:3], values[3:200] = (0, -0.0, 10.0**exponent), -values[3:200]
    values[200:210] = np.nextafter(np.float32(10.0**exponent), np.float32(0))
    expected = [decimals(values[at : at + 1])[0] for at in range(len(values))]
    assert decimals(values) == expected
    assert [text for at in range(0, 600, 100) for text in decimals(values[at : at + 100])] == expected


@pytest.mark.rule("4.7")
@pytest.mark.parametrize(
    "shape", [(1,), (3,), (2, 3), (2, 1), (1, 2, 3), (2, 3, 1, 2), (2, 0), (0, 2), (2, 3, 0), (2, 0, 3)]
)
def test_answers_are_what_a_writer_that_goes_level_by_level_writes(shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape)).reshape(shape)
    end = "\n    " if len(array) else ""
    assert rows({"y": array}).decode() == f'{{\n    "predictions": [{", ".join(map(_line, array.tolist()))}{end}]\n}}'
    assert columns({"y": array}).decode() == json.dumps({"outputs": array.tolist()}, indent=4)


def _line(value: Any) -> str:
    return f"[{', '.join(map(_line, value))}]" if isinstance(value, list) else str(value)


@pytest.mark.rule("9.6")
def test_rows_take_time_in_proportion_to_their_elements() -> None:
    """Rule 9.6: an answer of 300,000 elements is built by the same text as its rows."""
    array = np.random.default_rng(1).normal(size=(3000, 10, 10)).astype(np.float32)
    lines = [rows({"y": row[None]}).decode().split(": [", 1)[1].rsplit("\n    ]", 1)[0] for row in array[:50]]
    whole = rows({"y": array}).decode()
    assert whole.startswith(f'{{\n    "predictions": [{", ".join(lines)}, ')


@pytest.mark.rule("4.3")
def test_an_error_escapes_its_text_as_rapidjson_does() -> None:
    """Rule 4.3."""
    text = '"\\/\b\f\n\r\t\x01\x1fé\udcff\x7f'
    expected = b'{\n    "error": "\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001F\xc3\xa9\xff\x7f"\n}'
    assert error(text) == expected
    assert error("\ud800") == b'{\n    "error": "?"\n}'
