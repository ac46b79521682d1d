"""What makes the command answer soon."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Load modules without Python's collector of cycles: they stay for good, and walks through them take a tenth of the
    time of an answer."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
