"""Which folders in a folder are splits, each with class folders in it; the same for images and for texts."""

from __future__ import annotations

import os
from pathlib import Path

from pipeline.errors import InputError

PARTS = ("train", "validation", "test")
# names of the folders that are splits
_SPLITS = {"train": 0, "validation": 1, "val": 1, "test": 2}
# what systems leave in folders beside what begins with a dot
_LITTER = frozenset({"thumbs.db", "desktop.ini", "__macosx"})


def entries(folder: str | Path) -> list[os.DirEntry[str]]:
    """Return what lies in a folder, but for what systems leave there."""
    with os.scandir(folder) as found:
        return [one for one in found if not one.name.startswith(".") and one.name.casefold() not in _LITTER]


def splits(given: Path, root: Path, folders: list[Path], expected: str) -> list[tuple[int, Path]]:
    """Return the folders that hold class folders, each with its position in PARTS: the splits, or the whole folder.

    Args:
        given: as the user names the whole folder.
        folders: those in it.
        expected: how they should be, for the message.

    Raises:
        InputError: splits and something else side by side, or two folders for one split.
    """
    known = {folder: _SPLITS[folder.name.casefold()] for folder in folders if folder.name.casefold() in _SPLITS}
    if 0 not in known.values() or (len(known) == 1 and len(folders) > 1):  # a train may be what samples show
        return [(0, root)]
    if len(known) < len(folders) or len(set(known.values())) < len(known):
        raise InputError(
            f"the folder {given} holds splits and something else", expected=expected,
            found=f"folders {', '.join(folder.name for folder in folders[:8])}",
            todo="leave train, validation (or val) and test alone there, or the classes alone",
        )  # fmt: skip
    return sorted((part, folder) for folder, part in known.items())
