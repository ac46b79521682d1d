"""How the C library keeps memory for the next request, and how it gives it back."""

from __future__ import annotations

import ctypes
import sys
import threading
from typing import Any

from serving.server.flags import cpus

_ARENA_MAX = -8  # glibc's number of the parameter, see mallopt(3)
_LOOK_S = 1.0
_GROWTH_BYTES = 16 << 20  # less is not worth the time, in which no thread can allocate


def share_arenas() -> None:
    """Let threads share what the C library keeps; before the first of them starts.

    Left alone, glibc keeps an arena for each of many threads, and requests of all sizes leave holes in every one of
    them (tests/benchmarks/README.md). Its other limits stay: without them large tensors would cost page faults.
    """
    if mallopt := _libc("mallopt"):
        mallopt(_ARENA_MAX, max(2, cpus()))


def watch(stop: threading.Event) -> None:
    """Trim whenever this process has grown, until `stop` is set; a server that is as large as before is left alone."""
    known = _resident_bytes()
    while not stop.wait(_LOOK_S):
        now = _resident_bytes()
        if now > known + _GROWTH_BYTES:
            trim()
            now = known = _resident_bytes()
        known = min(known, now)


def trim() -> None:
    """Give back what is free: TensorFlow Serving does so after an unload."""
    if malloc_trim := _libc("malloc_trim"):
        malloc_trim(0)


def _libc(name: str) -> Any:
    """Return a function of the C library, or None where there is none of this name."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None


def _resident_bytes() -> int:
    """Return how much memory this process holds; 0 where that cannot be told, as without a free file descriptor."""
    import psutil

    try:
        return int(psutil.Process().memory_info().rss)
    except (OSError, psutil.Error):
        return 0
