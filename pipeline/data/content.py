"""The hash of what files hold: each file is read once while it stays the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from pipeline.files import sha256

# path, and what changes with the content: device, inode, bytes, time of the last change
_Known = tuple[str, int, int, int, int]
_known: dict[_Known, str] = {}


def digest(paths: Iterable[Path], places: Sequence[str] | None = None) -> str:
    """Return the sha256 of a file, or that of the hashes of several in their order; wherever they lie.

    Args:
        paths: one or more.
        places: of each, what counts too: where it lies.

    A run asks at each stage; a file whose size and time of change are what they were is not read again.
    """
    if places is not None:
        lines = [f"{place}\0{_one(path)}\n" for path, place in zip(paths, places, strict=True)]
        return hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()
    first, *more = [_one(path) for path in paths]
    return hashlib.sha256("".join([first, *more]).encode()).hexdigest() if more else first


def _one(path: Path) -> str:
    found = path.stat()
    key = str(path.absolute()), found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
    if key not in _known:
        _known[key] = sha256(path)
    return _known[key]
