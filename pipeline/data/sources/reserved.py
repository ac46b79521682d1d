"""Arrays on the disk whose space is there before they are filled."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

# what a file system says that cannot reserve space
_LACKING = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})
_PIECE = 1 << 20


def array(path: Path, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return a new .npy file of zeros, memory-mapped, to be filled.

    A new file has no blocks, and who writes through a map to a disk that is full is killed (SIGBUS), without a word.

    Raises:
        OSError: the disk has no room for all of it.
    """
    from numpy.lib.format import open_memmap

    made: np.ndarray = open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    size = path.stat().st_size
    try:
        with path.open("r+b") as file:
            if not _allocated(file.fileno(), size):
                _write_zeros(file.fileno(), size - made.nbytes, size)
    except OSError as error:  # of a descriptor, the system does not name the file
        raise OSError(error.errno, error.strerror, str(path)) from None
    return made


def save(path: Path, values: np.ndarray) -> None:
    """Write an array with values; numpy.save does not say that a disk is full.

    Raises:
        OSError: the disk has no room for all of it.
    """
    array(path, values.shape, values.dtype)[...] = values


def _allocated(descriptor: int, size: int) -> bool:
    if not hasattr(os, "posix_fallocate"):
        return False
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno in _LACKING:
            return False
        raise
    return True


def _write_zeros(descriptor: int, begin: int, end: int) -> None:
    zeros = bytes(_PIECE)
    while begin < end:  # a disk that fills up takes a part, and refuses the next
        begin += os.pwrite(descriptor, zeros[: end - begin], begin)
