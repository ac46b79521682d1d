"""Samples that stay on the disk: read where and when they are asked for, so that data may be larger than memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np

PIECE_BYTES = 32 << 20


class Rows:
    """Some samples of a memory-mapped array, float32 [n, *shape]; `rows[index]` reads, as numpy's indexing would.

    Another process that gets one opens the file itself.

    Args:
        array: [all, *shape] of any type; mapped from files, for other processes and for data larger than memory.
        positions: of these samples in it, int64 [n].
    """

    def __init__(self, array: np.ndarray | Joined, positions: np.ndarray) -> None:
        self._array, self._positions = array, positions

    @property
    def shape(self) -> tuple[int, ...]:
        return len(self._positions), *self._array.shape[1:]

    @property
    def dtype(self) -> np.dtype[Any]:
        import numpy as np

        return np.dtype(np.float32)

    @property
    def stored(self) -> np.dtype[Any]:
        """The type on the disk."""
        return self._array.dtype

    @property
    def ndim(self) -> int:
        return self._array.ndim

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, index: Any) -> np.ndarray:
        return self.as_stored(index).astype(self.dtype)

    def as_stored(self, index: Any) -> np.ndarray:
        """Return some samples in their type on the disk."""
        import numpy as np

        return np.asarray(self._array[self._positions[index]])

    def pieces(self) -> Iterator[slice]:
        """Yield the parts of all samples, in their order, that are small enough to be read at once."""
        size = at_once(4 * math.prod(self._array.shape[1:]))
        for start in range(0, len(self), size):
            yield slice(start, start + size)

    def __reduce__(self) -> tuple[Any, ...]:
        array = self._array
        if isinstance(array, Joined):
            return Rows, (array, self._positions)
        return _opened, (_Place.of(array), self._positions)


def _opened(place: _Place, positions: np.ndarray) -> Rows:
    return Rows(place.mapped(), positions)


def at_once(sample_bytes: int) -> int:
    """Return how many samples of a size are few enough to be read at once."""
    return max(1, PIECE_BYTES // max(1, sample_bytes))


@dataclass(frozen=True)
class _Place:
    """Where a memory-mapped array lies, for a process that opens the file itself."""

    path: Path
    dtype: Any
    shape: tuple[int, ...]
    offset: int
    order: Literal["C", "F"]

    @staticmethod
    def of(array: np.ndarray) -> _Place:
        import numpy as np

        flags = array.flags
        assert isinstance(array, np.memmap), "only what is in a file can be opened by another process"
        assert flags.c_contiguous or flags.f_contiguous, "a part of an array does not tell where it lies"
        order: Literal["C", "F"] = "C" if flags.c_contiguous else "F"
        return _Place(Path(str(array.filename)), array.dtype, array.shape, array.offset, order)

    def mapped(self) -> np.ndarray:
        import numpy as np

        return np.memmap(self.path, self.dtype, "r", self.offset, self.shape, self.order)


class Joined:
    """Memory-mapped arrays one behind the other, [n, *shape]; `joined[index]` reads, as numpy's indexing would.

    Args:
        parts: arrays that are alike but for their lengths.
    """

    def __init__(self, parts: Sequence[np.ndarray]) -> None:
        self._parts = parts

    @property
    def shape(self) -> tuple[int, ...]:
        return len(self), *self._parts[0].shape[1:]

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._parts[0].dtype

    @property
    def ndim(self) -> int:
        return self._parts[0].ndim

    @property
    def size(self) -> int:
        return sum(part.size for part in self._parts)

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def __getitem__(self, index: Any) -> np.ndarray:
        import numpy as np

        wanted = np.arange(len(self))[index]
        flat = np.ravel(wanted)
        found = np.empty((len(flat), *self.shape[1:]), self.dtype)
        begin = 0
        for part in self._parts:
            here = (flat >= begin) & (flat < begin + len(part))
            found[here] = part[flat[here] - begin]
            begin += len(part)
        return found.reshape(*wanted.shape, *self.shape[1:])

    def __reduce__(self) -> tuple[Any, ...]:
        return _joined, ([_Place.of(part) for part in self._parts],)


def _joined(places: Sequence[_Place]) -> Joined:
    return Joined([place.mapped() for place in places])
