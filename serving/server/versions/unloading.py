"""Frees a version once the last request that runs on it has ended (rules 2.5 and 6.5)."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from serving.server.memory import trim

if TYPE_CHECKING:
    from serving.server.versions.availability import Version

_FIRST_LOOK_S, _LAST_LOOK_S = 0.05, 5.0


def free(version: Version, stopped: Callable[[], bool]) -> None:
    """Give up the servable of a version, wait until no request holds it, close its session, return the memory.

    Args:
        stopped: the server ends: nothing is waited for.
    """
    assert version.servable is not None
    session, gone = version.servable.session, SimpleQueue[None]()
    watch = weakref.ref(version.servable, lambda _: gone.put(None))  # which may be called in the midst of get
    version.servable = None
    look_s = _FIRST_LOOK_S
    while True:
        try:
            gone.get(timeout=look_s)
            break
        except Empty:
            if stopped():
                return
            gc.collect()  # a request that failed leaves its frames in a cycle with its exception
            look_s = min(2 * look_s, _LAST_LOOK_S)
    del watch
    session.close()
    del session
    trim()
