"""Gives memory back to the system that the C library keeps for the next request."""

from __future__ import annotations

import ctypes
import sys
import threading

_LOOK_S = 1.0
_GROWTH_BYTES = 16 << 20  # less is not worth the time, in which no thread can allocate


def trim() -> None:
    """Give back what is free, where the C library keeps it: TensorFlow Serving does so after an unload."""
    if sys.platform == "linux":
        malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if malloc_trim is not None:
            malloc_trim(0)


def watch(stop: threading.Event) -> None:
    """Trim whenever this process has grown, until `stop` is set; a server that is as large as before is left alone.

    Requests of all sizes leave holes that the C library would keep for ever.
    """
    known = _resident_bytes()
    while not stop.wait(_LOOK_S):
        now = _resident_bytes()
        if now > known + _GROWTH_BYTES:
            trim()
            now = known = _resident_bytes()
        known = min(known, now)


def _resident_bytes() -> int:
    """Return how much memory this process holds; 0 where that cannot be told, as without a free file descriptor."""
    import psutil

    try:
        return int(psutil.Process().memory_info().rss)
    except (OSError, psutil.Error):
        return 0
