"""Where a source's files are: `data.path`, checked to be there before anything is read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import InputError

if TYPE_CHECKING:
    from pipeline.data import DataConfig

_TODO = "--set data.path={}, as seen from the folder in which modelmill is started"


def file(config: DataConfig, expected: str) -> Path:
    """Return the file that `data.path` names.

    Args:
        expected: what it has to be, for the message.

    Raises:
        InputError: it is not there, no file, or cannot be opened.
    """
    path = Path(str(config.path))
    try:
        if path.is_file():
            path.open("rb").close()
            return path
        found = _found(path)
    except OSError as error:
        found = error.strerror or str(error)
    raise InputError(
        f"the data file {path} cannot be read", expected=expected, found=found, todo=_TODO.format("FILE")
    ) from None


def folder(config: DataConfig, expected: str) -> Path:
    """Return the folder that `data.path` names.

    Raises:
        InputError: it is not there, no folder, or cannot be listed.
    """
    path = Path(str(config.path))
    try:
        if path.is_dir():
            next(path.iterdir(), None)
            return path
        found = "a file" if path.is_file() else _found(path)
    except OSError as error:
        found = error.strerror or str(error)
    raise InputError(
        f"the data folder {path} cannot be read", expected=expected, found=found, todo=_TODO.format("FOLDER")
    ) from None


def below(config: DataConfig, files: Sequence[Path]) -> list[str] | None:
    """Return where files lie in the folder that `data.path` names, or in that of a pattern; None where it is a file."""
    root = Path(str(config.path))
    if root.is_file():
        return None
    while not root.is_dir():
        root = root.parent
    return [os.path.relpath(file, root) for file in files]


def _found(path: Path) -> str:
    if not path.exists():
        return f"no such file: {path.absolute()}"
    return "a folder" if path.is_dir() else "neither a file nor a folder"
