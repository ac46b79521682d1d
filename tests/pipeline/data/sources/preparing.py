"""Stand-ins for what gives sources the folder of their decoded arrays."""

from __future__ import annotations

import tempfile
from pathlib import Path

from pipeline.data.prepared import Prepare, Write


def no_need(write: Write) -> Path:
    raise AssertionError(f"nothing has to be decoded, but {write} was to")


def prepare_in(folder: Path) -> Prepare:
    """Return one that writes anew each time, below a folder."""

    def prepare(write: Write) -> Path:
        made = Path(tempfile.mkdtemp(dir=folder))
        write(made)
        return made

    return prepare
