"""Floats as TensorFlow Serving writes them in JSON (rule 4.7).

That is: 6 significant digits where they read back to the same number, else 9 (float64: 17). Where there are many
numbers, the digits of those of common size are computed for all at once, by arithmetic that is exact: a float32 times
a power of ten up to 10^12 has at most 53 bits.
"""

from __future__ import annotations

import struct

import numpy as np

_FEW, _MANY = 64, 512  # below the first, numpy's calls cost more than they save; from the second, tables save more
# significant digits: shortest try, and what always reads back to the same number
_FORMS = {np.dtype(np.float32): ("%.6g", "%.9g"), np.dtype(np.float64): ("%.6g", "%.17g")}
DTYPES = frozenset(_FORMS)
_SINGLE = struct.Struct("f")
_NOT_FINITE = {"nan": "NaN", "-nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}

_POWERS = 10.0 ** np.arange(23)  # exact
_SMALLEST, _LARGEST = -17, 6  # 10^these bound the numbers whose first 6 digits arithmetic finds
_STEPS = 10.0 ** np.arange(_SMALLEST, _LARGEST + 1)

_SMALLEST_FIXED = -4  # from 10^this, both forms write numbers without an exponent
_FRACTION = 12  # digits after the point that they have at most
_INTEGER_POWERS = 10 ** np.arange(19)
# three digits of every number below 1000
_TRIPLETS = np.array([list(f"{number:03}".encode()) for number in range(1000)], np.uint8)


def decimals(array: np.ndarray) -> list[str]:
    """Return the elements of a float32 or float64 array, row by row."""
    flat = array.ravel()
    short, full = _FORMS[array.dtype]
    if flat.size < _FEW:
        return [_one(value, short, full) for value in flat.tolist()]
    size = np.abs(flat.astype(np.float64))
    zero = size == 0
    found = _fixed(flat, size, zero) if flat.size >= _MANY and array.dtype == np.float32 else None
    return _printed(flat, size, zero, short, full) if found is None else found


def _first_digits(flat: np.ndarray, size: np.ndarray, exponent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first 6 digits, and whether they read back to the same number.

    A product that is rounded may round a tie the wrong way, but next to a tie no 6 digits read back.
    """
    powers = _POWERS[5 - exponent]
    six = np.rint(size * powers)
    return six, (six / powers).astype(flat.dtype) == np.abs(flat)


def _exponents(size: np.ndarray) -> np.ndarray:
    """Return the power of ten of the first digit, the smallest one for 0."""
    found: np.ndarray = np.maximum(np.searchsorted(_STEPS, size, side="right") + (_SMALLEST - 1), _SMALLEST)
    return found


def _fixed(flat: np.ndarray, size: np.ndarray, zero: np.ndarray) -> list[str] | None:
    """Return float32 numbers as text, or None where one of them is written with an exponent, or rounds up to one more.

    Args:
        size: their absolute values as float64.
    """
    if not np.all(zero | ((size >= 10.0**_SMALLEST_FIXED) & (size < _STEPS[-1]))):
        return None
    exponent = np.maximum(_exponents(size), _SMALLEST_FIXED)
    nine = np.rint(size * _POWERS[8 - exponent]).astype(np.int64)
    six, reads_back = _first_digits(flat, size, exponent)
    if int(nine.max()) >= 10**9 or six.max() >= 10**6:
        return None
    digits = np.where(reads_back, six.astype(np.int64) * 1000, nine)
    return _written(np.signbit(flat), digits * _INTEGER_POWERS[exponent + (_FRACTION - 8)])


def _written(negative: np.ndarray, number: np.ndarray) -> list[str]:
    """Return integers divided by 10^12 as text, without zeros at the ends but for one beside the point."""
    groups = []
    for _ in range((_FRACTION + _LARGEST) // 3):
        rest = number // 1000
        groups.append(_TRIPLETS[number - rest * 1000])
        number = rest
    before, after = np.hstack(groups[:3:-1]), np.hstack(groups[3::-1])
    shown_before = np.logical_or.accumulate(before != ord("0"), axis=1)
    shown_after = np.logical_or.accumulate(after[:, ::-1] != ord("0"), axis=1)[:, ::-1]
    shown_before[:, -1] = shown_after[:, 0] = True
    column = np.ones((len(negative), 1), np.uint8)
    text = np.hstack([column * ord("-"), before, column * ord("."), after, column * ord(" ")])
    shown = np.hstack([negative[:, None], shown_before, column.view(bool), shown_after, column.view(bool)])
    found: list[str] = text[shown].tobytes().decode().split()
    return found


def _printed(flat: np.ndarray, size: np.ndarray, zero: np.ndarray, short: str, full: str) -> list[str]:
    """Return numbers of any size as text."""
    known = zero | ((size >= _STEPS[0]) & (size < _STEPS[-1]))
    _, reads_back = _first_digits(flat, size, np.minimum(_exponents(size), _LARGEST - 1))
    values = flat.tolist()
    found = [""] * len(values)
    for form, chosen in ((short, known & reads_back), (full, known & ~reads_back)):
        places = np.flatnonzero(chosen).tolist()
        if len(places) == len(values):
            found = _with_form(form, values)
        else:
            for place, text in zip(places, _with_form(form, [values[place] for place in places]), strict=True):
                found[place] = text
    for place in np.flatnonzero(known & (np.trunc(size) == size)).tolist():
        found[place] = _finished(found[place])
    for place in np.flatnonzero(~known).tolist():
        found[place] = _one(values[place], short, full)
    return found


def _with_form(form: str, values: list[float]) -> list[str]:
    return (f"{form} " * len(values) % tuple(values)).split()


def _one(value: float, short: str, full: str) -> str:
    text = short % value
    if (float(text) if full == "%.17g" else _as_float32(text)) != value:
        text = full % value
    return _finished(text)


def _as_float32(text: str) -> float:
    value: float = _SINGLE.unpack(_SINGLE.pack(float(text)))[0]
    return value


def _finished(text: str) -> str:
    """Return the text as JSON's grammar, or at least TensorFlow Serving's, has it."""
    if text in _NOT_FINITE:
        return _NOT_FINITE[text]
    return text if "." in text or "e" in text else text + ".0"
