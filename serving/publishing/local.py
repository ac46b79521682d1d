"""A version in a folder of this machine: written beside, on the disk, and renamed to its number."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path

from serving.publishing import Newest, greatest, next_number

# what a rename onto a folder that is there says, and onto a file
_TAKEN = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)


def newest(base: Path) -> Newest | None:
    """Return the version with the greatest number below a base path; None where there is none.

    Raises:
        OSError: it cannot be read.
    """
    name = greatest(_names(base)) if base.is_dir() else None
    if name is None:
        return None
    place = base / name
    files = {one.relative_to(place).as_posix(): one.stat().st_size for one in place.rglob("*") if one.is_file()}
    return Newest(int(name), str(place), files, lambda file: (place / file).open("rb"))


def publish(version: Mapping[str, Path], base: Path) -> Path:
    """Copy a version's files below a base path, as its next number; return where it is.

    A server that polls sees all of it or nothing. Of several who publish at the same time each gets a number of its
    own: a rename never replaces a folder that holds files. What a killed call leaves is named `.N.tmp-...`, which
    servers pass over.

    Args:
        version: name in the version's folder, such as saved_model.pb -> the file that is copied.
        base: the model's base path; made if missing.

    Raises:
        OSError: it cannot be written.
    """
    base.mkdir(parents=True, exist_ok=True)
    beside = base / f".{next_number(_names(base))}.tmp-{secrets.token_hex(4)}"
    try:
        # copies and no links: what is served must not change with a run's files, nor their rights be its own
        beside.mkdir()
        for name, source in version.items():
            _copy(source, beside / name)
        for folder in (beside, *(one for one in beside.rglob("*") if one.is_dir())):
            _sync(folder)
        while True:
            place = base / str(next_number(_names(base)))
            try:
                beside.rename(place)
            except OSError as error:
                if error.errno not in _TAKEN:
                    raise
            else:
                break
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    _sync(base)
    return place


def _names(base: Path) -> list[str]:
    return [one.name for one in base.iterdir()]


def _copy(source: Path, target: Path) -> None:
    """Copy a file's content onto the disk; it and its folders get the rights that new ones get."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    with target.open("rb") as file:
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Have the names in a folder on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
