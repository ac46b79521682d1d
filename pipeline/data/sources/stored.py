"""What a source whose content is no arrays leaves in its prepared folder, and the source that is read from it.

source.json     the names, in their order
x_INPUT.npy     samples; of a text x_INPUT.utf8, all of them in a row, and x_INPUT.offsets.npy, where each begins
y_HEAD.npy      what is to be answered; the only head's name is empty
given_SPLIT.npy positions of the samples of a split that the source has
groups.npy      the group of each sample
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.data.sources import reserved
from pipeline.data.sources.source import Source, Target
from pipeline.files import write_json

if TYPE_CHECKING:
    from types import TracebackType

    import numpy as np

_DESCRIPTION = "source.json"


def samples(folder: Path, name: str, shape: tuple[int, ...], dtype: Any = "float32") -> np.ndarray:
    """Return a new array on the disk for the samples [n, *shape] of an input, to be filled."""
    return reserved.array(folder / f"x_{name}.npy", shape, dtype)


def answers(folder: Path, shape: tuple[int, ...], dtype: Any, name: str = "") -> np.ndarray:
    """Return a new array on the disk for what a head has to answer, to be filled."""
    return reserved.array(folder / f"y_{name}.npy", shape, dtype)


class Texts:
    """Texts of an input, written one behind the other."""

    def __init__(self, folder: Path, name: str) -> None:
        self._offsets = array("q", [0])
        self._path = folder / f"x_{name}.offsets.npy"
        self._file = (folder / f"x_{name}.utf8").open("wb")

    def append(self, text: str) -> None:
        """Write one."""
        self._offsets.append(self._offsets[-1] + self._file.write(text.encode()))

    def __enter__(self) -> Texts:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        import numpy as np

        self._file.close()
        if error is None:
            reserved.save(self._path, np.frombuffer(self._offsets, np.int64))


def describe(
    folder: Path, inputs: Sequence[str], classes: Mapping[str, Sequence[str] | None], *,
    given: Mapping[Any, Any] | None = None, groups: Any = None, notes: Sequence[str] = (),
    columns: Mapping[str, Sequence[str]] | None = None,
) -> None:  # fmt: skip
    """Write what the arrays in a folder are; the last step.

    Args:
        inputs: names.
        classes: of each head by its name; None where it answers numbers.
        given: split -> positions; see `Source`.
        groups: integers [n], or None.
        notes: see `Source`.
        columns: see `Source`.
    """
    import numpy as np

    kept = {split: np.asarray(positions, np.int64) for split, positions in (given or {}).items() if len(positions)}
    for split, positions in kept.items():
        reserved.save(folder / f"given_{split}.npy", positions)
    if groups is not None:
        reserved.save(folder / "groups.npy", np.asarray(groups, np.int64))
    described = {
        "inputs": list(inputs), "targets": {name: names and list(names) for name, names in classes.items()},
        "given": list(kept), "notes": list(notes),
        "columns": {name: list(names) for name, names in (columns or {}).items()},
    }  # fmt: skip
    write_json(folder / _DESCRIPTION, described)


def keep(folder: Path, source: Source) -> None:
    """Write a source that is in memory into a folder, as it is."""
    for name, x in source.x.items():
        if x.dtype.kind == "O":
            with Texts(folder, name) as texts:
                for text in x:
                    texts.append(text)
        else:
            samples(folder, name, x.shape, x.dtype)[:] = x
    for name, target in source.targets.items():
        answers(folder, target.y.shape, target.y.dtype, name)[:] = target.y
    describe(
        folder, list(source.x), {name: target.classes for name, target in source.targets.items()},
        given=source.given, groups=source.groups, notes=source.notes, columns=source.columns,
    )  # fmt: skip


def read(folder: Path) -> Source:
    """Return the source that was written into a folder; its numbers stay in their files until they are read."""
    import numpy as np

    described = json.loads((folder / _DESCRIPTION).read_text(encoding="utf-8"))
    targets = {
        name: Target(np.load(folder / f"y_{name}.npy", mmap_mode="r"), None if names is None else tuple(names))
        for name, names in described["targets"].items()
    }
    groups = folder / "groups.npy"
    return Source(
        {name: _samples(folder, name) for name in described["inputs"]}, targets,
        {split: np.load(folder / f"given_{split}.npy") for split in described["given"]},
        np.load(groups) if groups.exists() else None, tuple(described["notes"]),
        {name: tuple(names) for name, names in described["columns"].items()},
    )  # fmt: skip


def _samples(folder: Path, name: str) -> np.ndarray:
    import numpy as np

    path = folder / f"x_{name}.npy"
    if path.exists():
        found: np.ndarray = np.load(path, mmap_mode="r")
        return found
    offsets = np.load(folder / f"x_{name}.offsets.npy")
    content = (folder / f"x_{name}.utf8").read_bytes()
    texts = np.empty(len(offsets) - 1, dtype=object)
    for place, (begin, end) in enumerate(pairwise(offsets)):
        texts[place] = content[begin:end].decode()
    return texts
