"""Data that had to be decoded (images, tables, records) as arrays on the disk: made once, read by every stage.

ROOT/data-KEY/   the arrays, .npy files that are memory-mapped; whole or not there. The key is a hash of the content and
                 of the settings that decide what becomes of it. What files it has is in manifest.json; a folder that
                 has others, as after a power failure, is made again.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pipeline.files import DamagedError, canonical, read_sealed, write_sealed
from pipeline.lock import Lock

NAME = "data"
_MANIFEST = "manifest.json"

# write(folder) fills an empty folder
Write = Callable[[Path], None]
# prepare(write) returns the folder that `write` has filled, in this call or in an earlier one
Prepare = Callable[[Write], Path]

_temporary: dict[str, Path] = {}


def key(basis: Mapping[str, Any]) -> str:
    """Return the fingerprint of decoded data: the hash of all that decides it."""
    return hashlib.sha256(canonical(basis).encode()).hexdigest()[:24]


def folder(root: Path, key: str, name: str = NAME) -> Path:
    """Return where decoded data is or will be; or what else is made once, under its own name."""
    return root / f"{name}-{key}"


def prepare(root: Path | None, key: str, write: Write, name: str = NAME) -> Path:
    """Return the folder of decoded data, filled by `write` where it is not there yet.

    Two processes never decode the same at once: who comes second waits for it.

    Args:
        root: the store; None: a folder that goes with this process.
        write: fills an empty folder; what it raises leaves nothing behind.
    """
    if root is None:
        return _in_passing(key, write)
    root.mkdir(parents=True, exist_ok=True)
    found = folder(root, key, name)
    with Lock(Path(f"{found}.lock")) as lock:
        lock.share(_patiently)
        if whole(found):
            return found
        lock.own(_patiently)
        if not whole(found):
            shutil.rmtree(found, ignore_errors=True)
            _fill(Path(f"{found}.partial"), found, write)
    return found


def _patiently() -> None:
    """Wait without a word: what is waited for is about to be ready."""


def _fill(partial: Path, found: Path, write: Write) -> None:
    shutil.rmtree(partial, ignore_errors=True)  # what a killed process left
    partial.mkdir()
    try:
        write(partial)
        for path in _files(partial):
            _force(path)
        write_sealed(partial / _MANIFEST, _sizes(partial))
        _force(partial / _MANIFEST)
        partial.replace(found)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def whole(folder: Path) -> bool:
    """Return whether a folder has the files that were written into it, by their names and bytes."""
    try:
        return bool(read_sealed(folder / _MANIFEST) == _sizes(folder))
    except DamagedError:
        return False


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path != folder / _MANIFEST]


def _sizes(folder: Path) -> dict[str, int]:
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in _files(folder)}


def _force(path: Path) -> None:
    """Have the system write a file to the disk: a folder's new name may else be there before what is in its files."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _in_passing(key: str, write: Write) -> Path:
    if key not in _temporary:
        here = Path(tempfile.mkdtemp(prefix="modelmill-data-"))
        atexit.register(shutil.rmtree, here, ignore_errors=True)
        write(here)
        _temporary[key] = here
    return _temporary[key]
