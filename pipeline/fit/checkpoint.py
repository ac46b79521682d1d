"""Checkpoints of a fit: numbered pairs of .npz (arrays) and .json (everything else), whole or not there.

The arrays are written first, then the .json (after a line with its own hash) that holds the hash of the arrays, each
beside its name and renamed. The pair before the newest is kept, so that there is one to fall back to when the newest
was damaged: by a disk, or by somebody.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import translate_os_error
from pipeline.files import DamagedError, read_sealed, sha256, write_sealed

KEPT = 2

_NAME = re.compile(r"epoch-(\d{6,})\.(?:npz|json)(?:\.part)?")


@dataclass(frozen=True)
class Checkpoint:
    """A fit's whole state after an epoch.

    Attributes:
        groups: the lists of arrays by their name, as they were saved.
        facts: what else was saved.
    """

    epoch: int
    groups: dict[str, list[np.ndarray]]
    facts: dict[str, Any]


def save(folder: Path, epoch: int, groups: Mapping[str, list[np.ndarray]], facts: Mapping[str, Any]) -> None:
    """Write the checkpoint after `epoch` and remove all but the one before it.

    Args:
        groups: named lists of arrays, in the order in which `load` gives them back.
        facts: what JSON can hold.

    Raises:
        DiskError: the folder cannot be written to.
    """
    arrays = {f"{group}.{place:05d}": array for group, members in groups.items() for place, array in enumerate(members)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / f"{_name(epoch)}.npz"
        beside = target.with_suffix(".npz.part")
        with beside.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        content = {
            "epoch": epoch, "arrays": sha256(beside), "groups": {name: len(group) for name, group in groups.items()},
            "facts": dict(facts),
        }  # fmt: skip
        beside.replace(target)
        write_sealed(folder / f"{_name(epoch)}.json", content)
        # what is newer than this one could not be used, or it would have been
        kept = [older for older in epochs(folder) if older <= epoch][:KEPT]
        for path in folder.iterdir():
            if (match := _NAME.fullmatch(path.name)) and int(match.group(1)) not in kept:
                path.unlink(missing_ok=True)
    except OSError as error:
        translated = translate_os_error(error, folder)
        if translated is None:
            raise
        raise translated from error


def epochs(folder: Path) -> list[int]:
    """Return the epochs that have a checkpoint, whole or damaged, the newest first."""
    names = (_NAME.fullmatch(path.name) for path in folder.glob("epoch-*.json"))
    return sorted((int(match.group(1)) for match in names if match), reverse=True)


def load(folder: Path, epoch: int) -> Checkpoint:
    """Return the checkpoint after an epoch.

    Raises:
        DamagedError: it is not as it was written.
    """
    content = read_sealed(folder / f"{_name(epoch)}.json")
    path = folder / f"{_name(epoch)}.npz"
    try:
        if sha256(path) != content["arrays"]:
            raise DamagedError(f"{path.name} was changed or cut off")
        with np.load(path, allow_pickle=False) as stored:
            groups = {
                group: [stored[f"{group}.{place:05d}"] for place in range(count)]
                for group, count in content["groups"].items()
            }
    except FileNotFoundError:
        raise DamagedError(f"{path.name} is missing") from None
    except OSError:
        raise DamagedError(f"{path.name} cannot be read") from None
    return Checkpoint(content["epoch"], groups, content["facts"])


def _name(epoch: int) -> str:
    return f"epoch-{epoch:06d}"
