"""Writing, hashing and linking of files."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any


def canonical(value: Any) -> str:
    """Return JSON that is equal for equal values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def sha256(path: Path) -> str:
    """Return the sha256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class DamagedError(Exception):
    """A file is not as it was written; the message says why, without a full stop."""


def hashes(path: Path, root: Path) -> dict[str, str]:
    """Return path below `root` -> sha256 of a file, or of all files of a folder."""
    found = sorted(item for item in path.rglob("*") if item.is_file()) if path.is_dir() else [path]
    return {item.relative_to(root).as_posix(): sha256(item) for item in found}


def plain_hashes(path: Path, root: Path) -> dict[str, str]:
    """Return path below `root` -> sha256 of a file, or of all files of a folder; nothing where nothing is.

    Raises:
        DamagedError: there is a link, or what is neither a file nor a folder: what it holds lies elsewhere.
    """
    found = [path]
    if not path.is_symlink():
        for folder, folders, files in os.walk(path):
            found += [Path(folder, name) for name in (*folders, *files)]
    for item in found:
        if item.is_symlink():
            raise DamagedError(f"{item} is a link")
        if item.exists() and not item.is_file() and not item.is_dir():
            raise DamagedError(f"{item} is neither a file nor a folder")
    return {item.relative_to(root).as_posix(): sha256(item) for item in sorted(found) if item.is_file()}


def write_sealed(path: Path, value: Any) -> None:
    """Write JSON after a line with its hash, beside the path, and rename it: `read_sealed` notices any change.

    Not forced to the disk, unlike what is a result (`write_json`): it is written often, and what is lost is done again.
    """
    beside = path.with_name(f"{path.name}.part")
    text = json.dumps(value)
    beside.write_text(f"{_hash(text)}\n{text}\n", encoding="utf-8")
    beside.replace(path)


def read_sealed(path: Path) -> Any:
    """Return what `write_sealed` wrote.

    Raises:
        DamagedError: it was changed, cut off, removed or cannot be read.
    """
    try:
        digest, text = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise DamagedError(f"{path.name} is missing") from None
    except (OSError, ValueError):
        raise DamagedError(f"{path.name} cannot be read") from None
    if _hash(text) != digest:
        raise DamagedError(f"{path.name} was changed")
    return json.loads(text)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Write JSON beside the path, force it to the disk and rename it, so that a reader sees all of it or none."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("w", encoding="utf-8") as file:
            json.dump(value, file, indent=2, allow_nan=False)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


# weights beside an .onnx: the library onnx does not read them from a file with several names, for fear of an attack
_ALONE = ".onnx.data"


def link_or_copy(source: str, target: str) -> None:
    """Make a hard link, or a copy where links cannot be: another file system, one without them, weights of an .onnx."""
    if source.endswith(_ALONE):
        shutil.copyfile(source, target)
        return
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def link_all(source: Path, target: Path) -> None:
    """Make hard links to a file, or to all files of a folder; see `link_or_copy`."""
    if source.is_dir():
        shutil.copytree(source, target, copy_function=link_or_copy)
    else:
        link_or_copy(str(source), str(target))
