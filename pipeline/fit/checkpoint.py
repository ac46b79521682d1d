"""Checkpoints of a fit: numbered pairs of .npz (arrays) and .json (everything else), whole or not there.

The arrays are written first, then the .json (after a line with its own hash) that holds the hash of the arrays, each
beside its name and renamed. The pair before the newest is kept, so that there is one to fall back to when the newest
was damaged: by a disk, or by somebody.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import translate_os_error
from pipeline.files import sha256

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


class DamagedError(Exception):
    """A checkpoint is not what was saved; the message says why, without a full stop."""


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
        os.replace(beside, target)  # noqa: PTH105 - the same name in all rooms for "atomic"
        beside = folder / f"{_name(epoch)}.json.part"
        written = json.dumps(content)
        beside.write_text(f"{_hash(written)}\n{written}\n", encoding="utf-8")
        os.replace(beside, folder / f"{_name(epoch)}.json")  # noqa: PTH105
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
    path = folder / f"{_name(epoch)}.json"
    try:
        digest, written = path.read_text(encoding="utf-8").splitlines()
        if _hash(written) != digest:
            raise DamagedError(f"{path.name} was changed")
        content = json.loads(written)
        arrays = path.with_suffix(".npz")
        if sha256(arrays) != content["arrays"]:
            raise DamagedError(f"{arrays.name} was changed or cut off")
        with np.load(arrays, allow_pickle=False) as stored:
            groups = {
                group: [stored[f"{group}.{place:05d}"] for place in range(count)]
                for group, count in content["groups"].items()
            }
        return Checkpoint(content["epoch"], groups, content["facts"])
    except FileNotFoundError as error:
        raise DamagedError(f"{Path(error.filename).name} is missing") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedError(f"{path.name} cannot be read") from error


def _name(epoch: int) -> str:
    return f"epoch-{epoch:06d}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
