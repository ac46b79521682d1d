"""What a recipe leaves unsaid of its data and something else tells: the task that a source's values ask for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.data.sources import NUMBERS


def written_out(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a recipe's mapping with what its data implies, so that checks and the dumped recipe have it."""
    data = document.get("data")
    if isinstance(data, dict) and data.get("task") is None and data.get("source") in NUMBERS:
        return {**document, "data": {**data, "task": "regression"}}
    return document
