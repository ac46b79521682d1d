"""Stand-ins for what gives sources the folder of their decoded arrays."""

from __future__ import annotations

from pathlib import Path

from pipeline.data.prepared import Write


def no_need(write: Write) -> Path:
    raise AssertionError(f"nothing has to be decoded, but {write} was to")
