"""Which images lie in a folder, and of which class and split their places make them; no image is opened."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.data.sources.images import SUFFIXES
from pipeline.data.sources.split_folders import entries, splits
from pipeline.errors import InputError

if TYPE_CHECKING:
    from pipeline.data.config import DataConfig

_EXPECTED = "FOLDER/CLASS/IMAGE; or FOLDER/train/CLASS/IMAGE with test/ and, if you like, validation/ in the same way"


@dataclass(frozen=True)
class File:
    """An image: its path, the name of its class, and its split, a position in PARTS."""

    path: Path
    label: str
    part: int


@dataclass(frozen=True)
class Listed:
    """The images of a folder, sorted by their places, and what is said of all else in it."""

    files: tuple[File, ...]
    notes: tuple[str, ...]


@dataclass
class _Aside:
    """What is left out, by its place."""

    links: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    beside: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)

    def notes(self) -> Iterator[str]:
        for what, names in (
            ("symbolic links to folders, or to what lies outside of the folder, are not followed", self.links),
            ("files are no images by their names, and left out", self.others),
            ("images lie beside the class folders, and are left out", self.beside),
            ("folders hold no images, and are no classes", self.empty),
        ):
            if names:
                more = ", ..." if len(names) > 3 else ""
                yield f"{len(names):,} {what}: {', '.join(sorted(names)[:3])}{more}"


def listed(config: DataConfig) -> Listed:
    """Return the images below data.path.

    Raises:
        InputError: no such folder, no class folders with images in it, or splits and classes side by side.
    """
    given = Path(str(config.path))
    if not given.is_dir():
        raise InputError(
            f"there is no folder {given}", expected=_EXPECTED,
            found="a file" if given.exists() else f"nothing at {given.absolute()}",
            todo="--set data.path=FOLDER, as seen from the folder in which modelmill is started",
        )  # fmt: skip
    root, aside, found = given.resolve(), _Aside(), []
    try:
        folders = _folders(root, root, aside)
        for part, folder in splits(given, root, folders, _EXPECTED):
            classes = folders if folder == root else _folders(folder, root, aside)
            if not classes and config.task == "reconstruction":
                classes, aside.beside = [folder], []  # nothing has to be told apart
            for each in classes:
                paths = sorted(_images(str(each), str(root), aside))
                if not paths:
                    aside.empty.append(each.relative_to(root).as_posix())
                found += [File(Path(path), each.name, part) for path in paths]
    except OSError as error:
        raise InputError(
            f"the folder {given} cannot be read", expected=_EXPECTED, found=f"{error.filename}: {error.strerror}",
            todo="change its permissions, or copy it to where you may read it",
        ) from None  # fmt: skip
    if not found:
        said = "; ".join(aside.notes()) or "nothing"
        raise InputError(
            f"the folder {given} has no class folders with images", expected=_EXPECTED, found=said,
            todo="put the images of each class into a folder with its name",
        )  # fmt: skip
    return Listed(tuple(found), tuple(aside.notes()))


def _folders(folder: Path, root: Path, aside: _Aside) -> list[Path]:
    """Return the folders in a folder, sorted; notes what lies beside them."""
    found = []
    for entry in entries(folder):
        if entry.is_dir(follow_symlinks=False):
            found.append(Path(entry.path))
        else:
            place = Path(entry.path).relative_to(root).as_posix()
            if entry.is_symlink():
                aside.links.append(place)
            else:
                (aside.beside if _is_image(entry.name) else aside.others).append(place)
    return sorted(found)


def _images(folder: str, root: str, aside: _Aside) -> Iterator[str]:
    """Yield the paths of images below a class folder, those in folders of its own too."""
    for entry in entries(folder):
        if entry.is_dir(follow_symlinks=False):
            yield from _images(entry.path, root, aside)
        elif entry.is_symlink() and not (entry.is_file() and Path(entry.path).resolve().is_relative_to(root)):
            aside.links.append(entry.path[len(root) + 1 :])
        elif _is_image(entry.name) and entry.is_file():
            yield entry.path
        else:
            aside.others.append(entry.path[len(root) + 1 :])


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].casefold() in SUFFIXES  # noqa: PTH122 - for each of a hundred thousand files
