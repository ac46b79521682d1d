"""What the header of a .npy file says, in an archive or not."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def read(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    """Return shape and dtype of the array in a file; it is left where the values begin.

    Raises:
        ValueError and what else numpy raises where there is no header.
    """
    from numpy.lib import format as npy_format

    old = npy_format.read_magic(file) == (1, 0)
    reader = npy_format.read_array_header_1_0 if old else npy_format.read_array_header_2_0
    shape, _, dtype = reader(file)
    return shape, dtype
