"""Arrays in a pickle, read without running any of it: of what a pickle can name, a few names are understood.

CIFAR's files and the object arrays in imdb.npz are pickles. Keras unpickles them after it compared their hashes; here a
file that somebody put into the cache cannot run code either: every other name in it is refused, and what stands for an
array or a dtype is a plain record, which is turned into an array after its type was looked at.
"""

from __future__ import annotations

import pickle
import re
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

_OBJECTS, _NUMBERS = "O8", re.compile(r"[<>|][uif][1248]")


class _Name:
    """What numpy.ndarray stands for as an argument; it is never called."""


class _Dtype:
    def __init__(self, name: str | bytes, *_: Any) -> None:
        self.name, self.order = _text(name), "|"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = _text(state[1])


class _Array:
    def __init__(self, *_: Any) -> None:
        self.state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def array(self) -> np.ndarray:
        import numpy as np

        _, shape, dtype, column_major, content = self.state
        lists = isinstance(dtype, _Dtype) and dtype.name == _OBJECTS
        if not lists and not (isinstance(dtype, _Dtype) and _NUMBERS.fullmatch(dtype.order + dtype.name)):
            raise pickle.UnpicklingError("an array of another type than numbers or lists")
        if lists:
            found: np.ndarray = np.empty(len(content), dtype=object)
            for place, item in enumerate(content):
                found[place] = item
        else:
            found = np.frombuffer(content, np.dtype(dtype.order + dtype.name))
        return found.reshape(tuple(shape), order="F" if column_major else "C")


def _text(name: str | bytes) -> str:
    return name.decode("ascii") if isinstance(name, bytes) else str(name)


def _encoded(text: str = "", encoding: str = "latin1") -> bytes:
    """What Python 3 writes for bytes where pickles of Python 2 have none of their own."""
    if encoding != "latin1" or not isinstance(text, str):
        raise pickle.UnpicklingError(f"text in {encoding!r}")
    return text.encode("latin1")


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        match module.removeprefix("numpy.").replace("_core", "core"), name:
            case "core.multiarray", "_reconstruct":
                return _Array
            case "numpy", "ndarray":
                return _Name()
            case "numpy", "dtype":
                return _Dtype
            case ("_codecs", "encode") | ("__builtin__", "bytes"):
                return _encoded
        raise pickle.UnpicklingError(f"it names {module}.{name}, which is no array")


def read(file: IO[bytes]) -> Any:
    """Return the array in a pickle, or its mapping with arrays in it; strings of Python 2 are bytes.

    Raises:
        pickle.UnpicklingError: it holds something else than plain values and arrays.
        Exception: what a damaged pickle raises: ValueError, EOFError, TypeError, IndexError and others.
    """
    found = _Reader(file, encoding="bytes").load()
    if isinstance(found, dict):
        return {key: value.array() if isinstance(value, _Array) else value for key, value in found.items()}
    return found.array() if isinstance(found, _Array) else found
