"""What an interrupted `--from STAGE` has made anew, so that the same command goes on and does not begin again."""

from __future__ import annotations

import json
from pathlib import Path

from pipeline.files import write_json


class Again:
    """The entries that a run with --from has begun and made, remembered in its folder until it has ended well.

    Args:
        path: the file; a run with another --from, or with none, forgets what is in it.
        first: the stage from which on stored results are ignored, if any.
    """

    def __init__(self, path: Path, first: str | None) -> None:
        self._path, self._first = path, first
        self.begun: list[str] = []
        self.made: list[str] = []
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return
        if first is not None and known["from"] == first:
            self.begun, self.made = known["begun"], known["made"]
        else:
            self.end()

    def begin(self, entry: str) -> None:
        """Remember that unfinished work of an entry is of this command."""
        self._add(self.begun, entry)

    def make(self, entry: str) -> None:
        """Remember that an entry was made by this command."""
        self._add(self.made, entry)

    def end(self) -> None:
        """Forget everything: the command has ended well."""
        self._path.unlink(missing_ok=True)

    def _add(self, entries: list[str], entry: str) -> None:
        if self._first is not None and entry not in entries:
            entries.append(entry)
            write_json(self._path, {"from": self._first, "begun": self.begun, "made": self.made})
