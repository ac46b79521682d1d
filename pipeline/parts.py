"""What a stage has done of its work, part by part, so that an interrupted call goes on after the last whole part."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pipeline.files import DamagedError, hashes, read_sealed, write_sealed


class Parts:
    """The finished parts of a stage's unfinished work, in its work folder: `NAME.part.json` and the files it tells of.

    A part is whole or not there: its files are written before it is kept, and are hashed when it is looked for.

    Args:
        folder: the stage's work folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, name: str) -> Any:
        """Return the value of a part, None where it was never kept or its files are no longer what they were."""
        try:
            content = read_sealed(self._path(name))
            paths = [self.folder / path for path in content["paths"]]
            if _hashes(paths, self.folder) != content["files"]:
                return None
        except (DamagedError, OSError):
            return None
        return content["value"]

    def keep(self, name: str, value: Any, paths: Iterable[Path] = ()) -> None:
        """Keep a part.

        Args:
            value: what JSON can hold, not None.
            paths: files and folders below the work folder that belong to it.
        """
        known = list(paths)
        names = [path.relative_to(self.folder).as_posix() for path in known]
        write_sealed(self._path(name), {"value": value, "paths": names, "files": _hashes(known, self.folder)})

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.part.json"


def _hashes(paths: Iterable[Path], root: Path) -> dict[str, str]:
    return {name: digest for path in paths for name, digest in hashes(path, root).items()}
