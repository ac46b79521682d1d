"""Checkpoints of a fit: numbered pairs of .npz (arrays) and .json (everything else), whole or not there.

The arrays are written first, then the .json with their hash, each beside its name and renamed; older pairs go when
the new one is there. So a process killed at any moment leaves at least the last pair that was whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import translate_os_error

Arrays = dict[str, list[np.ndarray]]


def save(folder: Path, epoch: int, groups: Mapping[str, list[np.ndarray]], facts: Mapping[str, Any]) -> None:
    """Write the checkpoint after `epoch` and remove the ones before it.

    Args:
        groups: named lists of arrays, in the order in which `load` gives them back.
        facts: what JSON can hold.

    Raises:
        DiskError: the folder cannot be written to.
    """
    name = f"epoch-{epoch:06d}"
    arrays = {f"{group}.{place:05d}": array for group, members in groups.items() for place, array in enumerate(members)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / f"{name}.npz"
        beside = target.with_suffix(".npz.part")
        with beside.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        digest = _sha256(beside)
        os.replace(beside, target)  # noqa: PTH105 - the same name in all rooms for "atomic"
        document = {"epoch": epoch, "sha256": digest, "groups": {k: len(v) for k, v in groups.items()}, **facts}
        beside = folder / f"{name}.json.part"
        beside.write_text(json.dumps(document), encoding="utf-8")
        os.replace(beside, folder / f"{name}.json")  # noqa: PTH105
        for old in folder.iterdir():
            if re.fullmatch(r"epoch-\d+\.(npz|json)(\.part)?", old.name) and old.name.split(".")[0] != name:
                old.unlink(missing_ok=True)
    except OSError as error:
        translated = translate_os_error(error, folder)
        if translated is None:
            raise
        raise translated from error


def load(folder: Path) -> tuple[Arrays, dict[str, Any]] | None:
    """Return the arrays and facts of the last whole checkpoint, or None where there is none."""
    for path in sorted(folder.glob("epoch-*.json"), reverse=True):
        try:
            facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            arrays = path.with_suffix(".npz")
            if _sha256(arrays) != facts["sha256"]:
                continue
            with np.load(arrays, allow_pickle=False) as stored:
                groups = {
                    group: [stored[f"{group}.{place:05d}"] for place in range(count)]
                    for group, count in facts["groups"].items()
                }
        except (OSError, ValueError, KeyError, TypeError):  # damaged: the one before it, if it is still there
            continue
        return groups, facts
    return None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
