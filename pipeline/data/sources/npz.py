"""Arrays in one .npz file, in the layout of Keras' own data sets (mnist.npz): x_train, y_train, x_test, y_test.

Where a model has several inputs or outputs there is one array for each, with its name: x_train_NAME, y_train_NAME. The
test arrays are kept as the test split. Nothing is unpickled, so a stranger's file cannot run code.
"""

from __future__ import annotations

import re
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.data.sources.source import Given, Source, Target
from pipeline.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from pipeline.data.config import DataConfig
    from pipeline.data.prepared import Prepare

LAYOUT = (
    "numbers x_train [n, height, width], [n, height, width, channels] or [n, features], or strings [n], and integers "
    "y_train [n], or "
    "with data.task regression floats [n] or [n, values], with data.task multilabel 0 or 1 [n, labels]; "
    "x_test and y_test in the same way, or neither; "
    "x_train_NAME and y_train_NAME, one for each, where there are several inputs or outputs"
)
TODO = "numpy.savez_compressed(FILE, x_train=..., y_train=..., x_test=..., y_test=...) and --set data.path=FILE"

PATH = "a file with the arrays x_train, y_train, x_test, y_test"

_ARRAY = re.compile(r"(?P<side>[xy])_(?P<part>train|test)(?:_(?P<name>[A-Za-z][A-Za-z0-9_]*))?")
# dtype's kinds: integers and floats
_NUMBERS = "iuf"
# texts: Unicode, and bytes in UTF-8
_STRINGS = "US"
# what zipfile, zlib and numpy raise for a damaged file
_DAMAGED = (
    zipfile.BadZipFile, zlib.error, tokenize.TokenError, ValueError, TypeError, EOFError, OSError, RuntimeError,
    MemoryError,
)  # fmt: skip


def load(config: DataConfig, prepare: Prepare) -> Source:  # noqa: ARG001 - every source has the same face
    """Return all samples, those of x_test behind those of x_train.

    Returns:
        x in the stored dtype, [n, height, width, channels] or [n, features], or strings [n] as objects; y int64 [n], or
        floats as stored.

    Raises:
        InputError: the file cannot be read, is damaged or not in this layout, or labels are no numbers of classes.
    """
    import numpy as np
    from numpy.lib import format as npy

    (path,) = files(config)
    arrays: dict[str, np.ndarray] = {}
    with _opened(path) as archive:
        for name, (shape, _) in _headers(archive, path, config).items():
            with archive.open(f"{name}.npy") as member:
                array = npy.read_array(member, allow_pickle=False)
            # labels may be a column, of any integer type
            shaped = _sample_shape(shape) if name[0] == "x" else shape[1:] if shape[1:] != (1,) else ()
            array = array.astype(np.int64) if name[0] == "y" and array.dtype.kind in "iu" else array
            arrays[name] = array.reshape(len(array), *shaped)
    if config.task == "anomaly" and "y_train" not in arrays:  # none of them is one
        arrays["y_train"] = np.zeros(len(arrays["x_train"]), np.int64)
    given: dict[Given, np.ndarray] = {}
    joined = {}
    for name, array in arrays.items():
        side, part, end = _split(name)
        if part == "train":
            rest = arrays.get(_joined(side, "test", end))
            joined[side, end] = array if rest is None else np.concatenate([array, rest])
            if rest is not None:
                given = {"test": np.arange(len(array), len(array) + len(rest))}
    x = {
        end or _default(config, array.ndim): _readable(array, path)
        for (side, end), array in joined.items()
        if side == "x"
    }
    targets = {end: _target(array, config, path) for (side, end), array in joined.items() if side == "y"}
    if len(targets) == 1:  # the only one needs no name
        targets = {"": next(iter(targets.values()))}
    return Source(x, targets, given)


def _split(name: str) -> tuple[str, str, str]:
    """Return side, part and name of an end of an array's name: x_train_left -> x, train, left."""
    found = _ARRAY.fullmatch(name)
    assert found is not None, name
    return found["side"], found["part"], found["name"] or ""


def _joined(side: str, part: str, end: str) -> str:
    return f"{side}_{part}_{end}" if end else f"{side}_{part}"


def _default(config: DataConfig, rank: int) -> str:
    return config.input_name or {1: "text", 2: "features"}.get(rank, "image")


def _readable(array: np.ndarray, path: Path) -> np.ndarray:
    """Return strings as objects, which take the memory that each needs; all else as it is.

    Raises:
        InputError: bytes that are no UTF-8, or characters that do not exist.
    """
    import numpy as np

    if array.dtype.kind not in _STRINGS:
        return array
    try:
        texts = [text.decode() if isinstance(text, bytes) else text for text in array.tolist()]
        for text in texts:
            text.encode()
    except ValueError as error:
        raise InputError(
            f"the texts in the data file {path} cannot be read", expected="Unicode, or bytes in UTF-8",
            found=str(error), todo="numpy.array(TEXTS) of a list of str, without errors='surrogateescape'",
        ) from None  # fmt: skip
    return np.array(texts, dtype=object)


def _target(y: np.ndarray, config: DataConfig, path: Path) -> Target:
    if config.task == "multilabel":
        return Target(y, config.classes)
    if y.dtype.kind == "f" or config.task == "regression":
        return Target(y, None)
    return Target(y, _classes(y, config, path))


def _predicts_numbers(name: str, dtype: np.dtype, config: DataConfig) -> bool:
    # labels that were saved as floats by mistake are no regression; of several outputs each says by its type what it is
    return config.task == "regression" or (config.task is None and bool(_split(name)[2]) and dtype.kind == "f")


def files(config: DataConfig) -> tuple[Path, ...]:
    """Return the file that holds the raw content.

    Raises:
        InputError: it is not there, no file, or cannot be opened.
    """
    path = Path(str(config.path))
    try:
        if path.is_file():
            path.open("rb").close()
            return (path,)
        found = f"no such file: {path.absolute()}"
        if path.exists():
            found = "a folder" if path.is_dir() else "neither a file nor a folder"
    except OSError as error:
        found = error.strerror or str(error)
    raise InputError(
        f"the data file {path} cannot be read", expected="a file in the format .npz", found=found,
        todo="--set data.path=FILE, as seen from the folder in which modelmill is started",
    )  # fmt: skip


def input_shapes(config: DataConfig) -> dict[str, tuple[int, ...]] | None:
    """Return input name -> shape of one sample, of headers alone; None where there is no file that can be read.

    Raises:
        InputError: the file is damaged or not in this layout.
    """
    try:
        (path,) = files(config)
    except InputError:  # a run says so; a recipe can be listed and explained without its data
        return None
    found = {}
    with _opened(path) as archive:
        for name, (shape, _) in _headers(archive, path, config).items():
            side, part, end = _split(name)
            if (side, part) == ("x", "train"):
                sample = _sample_shape(shape)
                found[end or _default(config, len(sample) + 1)] = sample
    return found


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Give the archive, and translate what reading a damaged one raises."""
    try:
        with zipfile.ZipFile(path) as archive:
            for item in archive.infolist():
                if item.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise zipfile.BadZipFile(f"{item.filename} in a compression that numpy does not write")
            yield archive
    except _DAMAGED as error:
        raise InputError(
            f"the data file {path} is not a readable .npz file",
            expected="a whole .npz file, as numpy.savez writes it, that fits into memory",
            found=str(error) or type(error).__name__, todo=f"get the file again, or write one: {TODO}",
        ) from None  # fmt: skip


def _headers(archive: zipfile.ZipFile, path: Path, config: DataConfig) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Return shape and dtype of the arrays of the layout, checked, with no array read."""
    from numpy.lib import format as npy

    stored = [name.removesuffix(".npy") for name in archive.namelist()]
    wanted = _wanted(stored, config)
    if absent := [name for name in wanted if name not in stored]:
        raise InputError(
            f"the data file {path} lacks {' and '.join(absent)}", expected=LAYOUT,
            found=f"arrays {', '.join(stored)}" if stored else "no arrays", todo=TODO,
        )  # fmt: skip
    headers = {}
    for name in wanted:
        with archive.open(f"{name}.npy") as member:
            old = npy.read_magic(member) == (1, 0)
            shape, _, dtype = npy.read_array_header_1_0(member) if old else npy.read_array_header_2_0(member)
        headers[name] = shape, dtype
    if problems := list(_problems(headers, config)):
        raise InputError(
            f"the arrays in the data file {path} do not fit", expected=LAYOUT, found="; ".join(problems), todo=TODO
        )
    return headers


def _wanted(stored: list[str], config: DataConfig) -> list[str]:
    """Return the arrays that there have to be, by those that there are.

    A reconstruction wants its inputs alone, and normal samples to learn from need no labels.
    """
    found = [_split(name) for name in stored if _ARRAY.fullmatch(name)]
    tested = any(part == "test" for _, part, _ in found)
    wanted = []
    for part in ("train", "test") if tested else ("train",):
        for side in "x" if config.task == "reconstruction" else "xy":
            if config.task == "anomaly" and (part, side) == ("train", "y") and _tested_alone(stored):
                continue
            names = sorted({end for kind, _, end in found if kind == side}) or [""]
            wanted += [_joined(side, part, end) for end in names]
    return wanted


def _tested_alone(stored: list[str]) -> bool:
    return "y_test" in stored and "y_train" not in stored


def _problems(headers: Mapping[str, tuple[tuple[int, ...], np.dtype]], config: DataConfig) -> Iterator[str]:
    for side in "xy":
        ends = [end for kind, part, end in map(_split, headers) if (kind, part) == (side, "train")]
        if "" in ends and len(ends) > 1:
            yield f"{side}_train stands beside {', '.join(_joined(side, 'train', end) for end in ends if end)}"
    first = next(iter(headers))
    for name, (shape, dtype) in headers.items():
        side, part, end = _split(name)
        numbers = side == "y" and _predicts_numbers(name, dtype, config)
        if dtype.hasobject:
            yield f"{name} holds Python objects, which are never loaded"
        text = side == "x" and len(shape) == 1 and dtype.kind in _STRINGS
        table = side == "y" and config.task == "multilabel"
        kinds = _NUMBERS + "b" if table else _NUMBERS if side == "x" or numbers else "iu"
        if not (dtype.hasobject or text) and dtype.kind not in kinds:
            yield f"{name} holds {dtype}"
        if side == "x":
            fits = text or len(shape) in (2, 3, 4)
        elif table:
            fits = len(shape) == 2 and shape[1] > 1
        else:
            fits = len(shape) in (1, 2) if numbers else len(shape) == 1 or shape[1:] == (1,)
        if not fits:
            yield f"{name} has the shape {list(shape)}"
        elif 0 in shape:
            yield f"{name} is empty: {list(shape)}"
        other = _joined("x", part, _split(first)[2])
        if name != other and shape[:1] != headers[other][0][:1]:
            yield f"{other} and {name} differ in length: {list(headers[other][0])} and {list(shape)}"
        train = _joined(side, "train", end)
        if part == "test" and train in headers:
            before, before_dtype = headers[train]
            if (_sample_shape(before) if side == "x" else before[1:]) != (
                _sample_shape(shape) if side == "x" else shape[1:]
            ) and (side == "x" or numbers or table):
                yield f"{train} and {name} differ in the shape of a sample: {list(before[1:])} and {list(shape[1:])}"
            if side == "x" and before_dtype != dtype and not (text and before_dtype.kind == dtype.kind):
                yield f"{train} and {name} differ in type: {before_dtype} and {dtype}"


def _sample_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape[1:], 1) if len(shape) == 3 else shape[1:]


def _classes(labels: np.ndarray, config: DataConfig, path: Path) -> tuple[str, ...]:
    """Return the names of the classes, those of the recipe or the labels themselves."""
    low, high = int(labels.min()), int(labels.max())
    # without names, a number above that of the samples is an id: it would cost the model as many outputs
    count = len(config.classes or labels)
    if low < 0 or low == high or high >= count:
        raise InputError(
            f"the labels in the data file {path} are no numbers of classes",
            expected=f"at least two different labels, each from 0 to {count - 1}, "
            + ("the positions in data.classes" if config.classes else "fewer than there are samples"),
            found=f"labels from {low} to {high}",
            todo="number the classes from 0" + (", or name all of them in data.classes" if config.classes else ""),
        )
    return config.classes or tuple(str(label) for label in range(high + 1))
