"""Versions in a model's base path: the next number, and the folder under it whole or not there.

A server takes every child of a base path whose name is an integer for a version, the moment it is there. `local` and
`remote` keep what is being written under other names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.files import sha256
from serving.layout import number


@dataclass(frozen=True)
class Newest:
    """The version of a base path with the greatest number, which is the one that a server serves.

    Attributes:
        number: its number.
        at: its path or address.
        files: name in it -> bytes.
        opened: opens one of them, by its name, to read bytes.
    """

    number: int
    at: str
    files: Mapping[str, int]
    opened: Callable[[str], Any]

    def holds(self, version: Mapping[str, Path]) -> bool:
        """Return whether it has exactly these files, name -> file, with the same content."""
        if self.files != {name: path.stat().st_size for name, path in version.items()}:
            return False
        return all(self._sha256(name) == sha256(path) for name, path in version.items())

    def _sha256(self, name: str) -> str:
        with self.opened(name) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def greatest(names: Iterable[str]) -> str | None:
    """Return the name of a base path's child that has the greatest number, None where there is none."""
    found = {version: name for name in names if (version := number(name)) is not None}
    return found[max(found)] if found else None


def next_number(names: Iterable[str]) -> int:
    """Return the number after the greatest that a base path's children have, 1 where there is none."""
    newest = greatest(names)
    return 1 if newest is None else int(newest) + 1
