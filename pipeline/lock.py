"""A lock file between processes, shared or exclusive; it goes with the process that holds it, even after kill -9."""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from pathlib import Path
from types import TracebackType


class Lock:
    """A lock on a path, for use in a `with` statement that releases it.

    Args:
        path: the lock file; made if missing and never removed, because somebody may be waiting for it.
        existing: it is there, and is shared alone, for which it need not be writable.
    """

    def __init__(self, path: Path, *, existing: bool = False) -> None:
        self._path, self._mode = path, "rb" if existing else "ab"

    def __enter__(self) -> Lock:
        self._file = self._path.open(self._mode)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def share(self, waiting: Callable[[], None] | None = None) -> None:
        """Hold it together with others who share it; gives up exclusiveness. See `own` for the rest."""
        self._take(fcntl.LOCK_SH, waiting)

    def own(self, waiting: Callable[[], None] | None = None) -> None:
        """Hold it alone; a shared hold is given up first, so look again at what it protects.

        Args:
            waiting: called before waiting for others; without it nobody is waited for.

        Raises:
            BlockingIOError: others hold it, and nobody is to be waited for.
        """
        self._take(fcntl.LOCK_EX, waiting)

    def release(self) -> None:
        """Hold it no longer, until it is taken again."""
        fcntl.flock(self._file, fcntl.LOCK_UN)

    def _take(self, kind: int, waiting: Callable[[], None] | None) -> None:
        try:
            fcntl.flock(self._file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting is None:
                raise
            waiting()
            fcntl.flock(self._file, kind)
