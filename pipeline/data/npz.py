"""Arrays in one .npz file, in the layout of Keras' own data sets (mnist.npz): x_train, y_train, x_test, y_test.

The test arrays are kept as the test split. Nothing is unpickled, so a stranger's file cannot run code.
"""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.data.source import Source
from pipeline.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from pipeline.data import DataConfig

TRAIN, TEST = ("x_train", "y_train"), ("x_test", "y_test")
LAYOUT = (
    "numbers x_train [n, height, width], [n, height, width, channels] or [n, features] and integers y_train [n]; "
    "x_test and y_test in the same way, or neither"
)
TODO = "numpy.savez_compressed(FILE, x_train=..., y_train=..., x_test=..., y_test=...) and --set data.path=FILE"

# what zipfile, zlib and numpy raise for a damaged file
_DAMAGED = (
    zipfile.BadZipFile, zlib.error, tokenize.TokenError, ValueError, TypeError, EOFError, OSError, RuntimeError,
    MemoryError,
)  # fmt: skip


def load(config: DataConfig) -> Source:
    """Return all samples, those of x_test behind those of x_train.

    Returns:
        x in the stored dtype, [n, height, width, channels] or [n, features]; y int64 [n].

    Raises:
        InputError: the file cannot be read, is damaged or not in this layout, or labels are no numbers of classes.
    """
    import numpy as np
    from numpy.lib import format as npy

    (path,) = files(config)
    arrays: dict[str, np.ndarray] = {}
    with _opened(path) as archive:
        for name, (shape, _) in _headers(archive, path).items():
            with archive.open(f"{name}.npy") as member:
                array = npy.read_array(member, allow_pickle=False)
            arrays[name] = array.reshape(len(array), *_sample_shape(shape)) if name[0] == "x" else array.reshape(-1)
    x, y = arrays["x_train"], arrays["y_train"].astype(np.int64)
    own_test = None
    if "x_test" in arrays:
        own_test = np.arange(len(y), len(y) + len(arrays["y_test"]))
        x, y = np.concatenate([x, arrays["x_test"]]), np.concatenate([y, arrays["y_test"].astype(np.int64)])
    return Source(x=x, y=y, classes=_classes(y, config, path), own_test=own_test)


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


def input_shape(config: DataConfig) -> tuple[int, ...] | None:
    """Return the shape of one sample, of headers alone; None where there is no file that can be read.

    Raises:
        InputError: the file is damaged or not in this layout.
    """
    try:
        (path,) = files(config)
    except InputError:  # a run says so; a recipe can be listed and explained without its data
        return None
    with _opened(path) as archive:
        return _sample_shape(_headers(archive, path)["x_train"][0])


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


def _headers(archive: zipfile.ZipFile, path: Path) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Return shape and dtype of the arrays of the layout, checked, with no array read."""
    from numpy.lib import format as npy

    stored = [name.removesuffix(".npy") for name in archive.namelist()]
    wanted = TRAIN + (TEST if set(TEST) & set(stored) else ())
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
    if problems := list(_problems(headers)):
        raise InputError(
            f"the arrays in the data file {path} do not fit", expected=LAYOUT, found="; ".join(problems), todo=TODO
        )
    return headers


def _problems(headers: dict[str, tuple[tuple[int, ...], np.dtype]]) -> Iterator[str]:
    for name, (shape, dtype) in headers.items():
        if dtype.hasobject:
            yield f"{name} holds Python objects, which are never loaded"
        elif dtype.kind not in ("iuf" if name[0] == "x" else "iu"):
            yield f"{name} holds {dtype}"
        if len(shape) not in (2, 3, 4) if name[0] == "x" else len(shape) != 1 and shape[1:] != (1,):
            yield f"{name} has the shape {list(shape)}"
        elif 0 in shape:
            yield f"{name} is empty: {list(shape)}"
    for x, y in (TRAIN, TEST):
        if x in headers and headers[x][0][:1] != headers[y][0][:1]:
            yield f"{x} and {y} differ in length: {list(headers[x][0])} and {list(headers[y][0])}"
    if "x_test" in headers:
        (train, train_dtype), (test, test_dtype) = headers["x_train"], headers["x_test"]
        if _sample_shape(train) != _sample_shape(test):
            yield f"x_train and x_test differ in the shape of a sample: {list(train[1:])} and {list(test[1:])}"
        if train_dtype != test_dtype:
            yield f"x_train and x_test differ in type: {train_dtype} and {test_dtype}"


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
