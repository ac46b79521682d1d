"""What a stage was trained on: a file beside its model, for the report, also where the result is used again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipeline.files import write_json

COMPUTE = "compute.json"


def write(choice: dict[str, Any], folder: Path) -> None:
    """Write it into a stage's folder."""
    write_json(folder / COMPUTE, choice)


def read(folder: Path) -> dict[str, Any] | None:
    """Return what a stage was trained on; None: it trained nothing."""
    if not (folder / COMPUTE).is_file():
        return None
    found: dict[str, Any] = json.loads((folder / COMPUTE).read_text(encoding="utf-8"))
    return found
