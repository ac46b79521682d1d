"""Texts from a folder with a folder of .txt files for each class; splits above these are kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.data.sources import labels, stored
from pipeline.data.sources.split_folders import PARTS, entries, splits
from pipeline.errors import InputError

if TYPE_CHECKING:
    from pipeline.data.config import DataConfig

_EXPECTED = "CLASS/NAME.txt; or train/CLASS/NAME.txt with test/ and, if you like, validation/ in the same way"
_SHOWN = 5


@dataclass(frozen=True)
class File:
    """A file with a text.

    Attributes:
        part: its split, a position in PARTS.
        label: the folder that it is in.
    """

    path: Path
    part: int
    label: str


def listed(root: Path) -> list[File]:
    """Return all texts below a folder, in the order of their names.

    Raises:
        InputError: there are none, or splits and classes side by side.
    """
    found = [
        File(path, part, label.name)
        for part, here in splits(root, root, _folders(root), _EXPECTED)
        for label in _folders(here)
        for path in sorted(label.glob("*.txt"))
        if path.is_file()
    ]
    if not found:
        raise InputError(
            f"the data folder {root} holds no texts", expected=_EXPECTED,
            found=", ".join(sorted(one.name for one in root.iterdir())[:10]) or "an empty folder",
            todo="correct data.path",
        )  # fmt: skip
    return found


def _folders(folder: Path) -> list[Path]:
    return sorted(Path(one.path) for one in entries(folder) if one.is_dir())


def write(config: DataConfig, root: Path, folder: Path, name: str) -> None:
    """Write the texts below a folder into a prepared folder.

    Args:
        name: of the input.

    Raises:
        InputError: a text is no UTF-8, or folders do not fit `data.classes`.
    """
    import numpy as np

    found = listed(root)
    classes, strange = labels.chosen({one.label for one in found}, config.classes)
    if strange or len(classes) < 2 or config.task in ("regression", "multilabel"):
        raise InputError(
            f"the folders in the data folder {root} are no classes for this recipe",
            expected=f"folders {', '.join(config.classes)}" if config.classes else "two or more, each a class",
            found=", ".join(sorted({one.label for one in found})[:20]),
            todo="correct the folders, data.classes or data.task",
        )  # fmt: skip
    where = labels.positions({one.label for one in found}, classes)
    bad, empty = [], 0
    with stored.Texts(folder, name) as texts:
        for one in found:
            content = one.path.read_bytes().removeprefix(b"\xef\xbb\xbf")
            try:
                text = content.decode().strip()
            except UnicodeDecodeError as error:
                line = content.count(b"\n", 0, error.start) + 1
                bad.append(f"{one.path.relative_to(root)}, line {line}")
                continue
            texts.append(text)
            empty += not text
    if bad:
        raise InputError(
            f"files in the data folder {root} are no UTF-8", expected="texts in UTF-8",
            found=f"{len(bad)} of {len(found)}: {'; '.join(bad[:_SHOWN])}" + ("; ..." if len(bad) > _SHOWN else ""),
            todo="convert them, for example with `iconv -f latin1 -t utf-8`, if they are Latin-1",
        )  # fmt: skip
    y = stored.answers(folder, (len(found),), "int64")
    y[:] = [where[one.label] for one in found]
    parts = np.array([one.part for one in found])
    given = {split: np.flatnonzero(parts == part) for part, split in enumerate(PARTS) if part}
    notes = [f"{empty} of {len(found)} texts are empty"] if empty else []
    stored.describe(folder, [name], {"": classes}, given=given, notes=notes)
