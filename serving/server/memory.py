"""How the C library keeps memory for the next request, and how it gives it back."""

from __future__ import annotations

import ctypes
import sys
from typing import Any

from serving.server.flags import cpus

# glibc's parameters of mallopt(3)
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_LARGE_BYTES = 4 << 20


def keep_little() -> None:
    """Let large tensors go back to the system when they are freed, and threads share what is kept.

    Left alone, glibc keeps ever larger blocks and an arena for each of many threads: requests of all sizes would leave
    holes in them for ever (tests/benchmarks/README.md). Before the first thread starts.
    """
    if mallopt := _libc("mallopt"):
        for parameter, value in (
            (_MMAP_THRESHOLD, _LARGE_BYTES),
            (_TRIM_THRESHOLD, _LARGE_BYTES),
            (_ARENA_MAX, max(2, cpus())),
        ):
            mallopt(parameter, value)


def trim() -> None:
    """Give back what is free: TensorFlow Serving does so after an unload."""
    if malloc_trim := _libc("malloc_trim"):
        malloc_trim(0)


def _libc(name: str) -> Any:
    """Return a function of the C library, or None where there is none of this name."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
