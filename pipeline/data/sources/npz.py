"""Arrays in one .npz file, in the layout of Keras' own data sets (mnist.npz); see `layout`.

Nothing is unpickled, so a stranger's file cannot run code. What is larger than `data.memory_mb` is unpacked into .npy
files, once, and read from there.
"""

from __future__ import annotations

import math
import shutil
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.data.sources import PATHS, array_header, layout, npy, place
from pipeline.errors import InputError, translate_os_error

if TYPE_CHECKING:
    import numpy as np

    from pipeline.data.config import DataConfig
    from pipeline.data.prepared import Prepare
    from pipeline.data.sources.source import Source

PATH = PATHS["npz"]
TODO = "numpy.savez_compressed(FILE, x_train=..., y_train=..., x_test=..., y_test=...) and --set data.path=FILE"

# what zipfile, zlib and numpy raise for a damaged file
_DAMAGED = (
    zipfile.BadZipFile, zlib.error, tokenize.TokenError, ValueError, TypeError, EOFError, OSError, RuntimeError,
    MemoryError,
)  # fmt: skip


def larger(config: DataConfig) -> bool:
    """Return whether the samples, as float32, are larger than the memory that they may take."""
    (path,) = files(config)
    with _opened(path) as archive:
        shapes = [shape for name, (shape, _) in _headers(archive, path, config).items() if name[0] == "x"]
    return 4 * sum(map(math.prod, shapes)) > config.memory_mb << 20


DECODES = larger


def load(config: DataConfig, prepare: Prepare) -> Source:
    """Return all samples; see `layout.source`.

    Raises:
        InputError: the file cannot be read, is damaged or not in this layout, or labels are no numbers of classes.
    """
    from numpy.lib import format as npy_format

    (path,) = files(config)
    if larger(config):
        return npy.mapped(prepare(lambda folder: _unpack(path, config, folder)), config, f"data file {path}")
    arrays: dict[str, np.ndarray] = {}
    with _opened(path) as archive:
        for name in _headers(archive, path, config):
            with archive.open(f"{name}.npy") as member:
                arrays[name] = npy_format.read_array(member, allow_pickle=False)
    return layout.source(arrays, config, f"data file {path}")


def files(config: DataConfig) -> tuple[Path, ...]:
    """Return the file that holds the raw content; see `place.file`."""
    return (place.file(config, "a file in the format .npz"),)


def input_shapes(config: DataConfig) -> dict[str, tuple[int, ...]] | None:
    """Return input name -> shape of one sample, of headers alone; None where there is no file that can be read.

    Raises:
        InputError: the file is damaged or not in this layout.
    """
    try:
        (path,) = files(config)
    except InputError:  # a run says so; a recipe can be listed and explained without its data
        return None
    with _opened(path) as archive:
        return layout.shapes(_headers(archive, path, config), config)


def _unpack(path: Path, config: DataConfig, folder: Path) -> None:
    """Write the arrays into a folder as they are; zipfile checks each against its checksum."""
    with _opened(path, folder) as archive:
        for name, (shape, dtype) in _headers(archive, path, config).items():
            said, held = math.prod(shape) * dtype.itemsize, archive.getinfo(f"{name}.npy").file_size
            if held < said:  # before anything is mapped that is not there
                raise ValueError(f"{name} says that it has {said:,} bytes, and has {held:,}")
            with archive.open(f"{name}.npy") as member, (folder / f"{name}.npy").open("wb") as file:
                shutil.copyfileobj(member, file)


@contextmanager
def _opened(path: Path, into: Path | None = None) -> Iterator[zipfile.ZipFile]:
    """Give the archive, and translate what reading a damaged one raises.

    Args:
        into: the folder that it is unpacked into, if it is: its disk may be full, which is no fault of the archive.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for item in archive.infolist():
                if item.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise zipfile.BadZipFile(f"{item.filename} in a compression that numpy does not write")
            yield archive
    except _DAMAGED as error:
        if into is not None and (disk := translate_os_error(error, into)):
            raise disk from error
        raise InputError(
            f"the data file {path} is not a readable .npz file",
            expected="a whole .npz file, as numpy.savez writes it, that fits into memory",
            found=str(error) or type(error).__name__, todo=f"get the file again, or write one: {TODO}",
        ) from None  # fmt: skip


def _headers(archive: zipfile.ZipFile, path: Path, config: DataConfig) -> layout.Headers:
    """Return shape and dtype of the arrays of the layout, checked, with no array read."""

    def read(name: str) -> tuple[tuple[int, ...], np.dtype]:
        with archive.open(f"{name}.npy") as member:
            return array_header.read(member)

    stored = [name.removesuffix(".npy") for name in archive.namelist()]
    return layout.headers(stored, read, config, where=f"data file {path}", todo=TODO)
