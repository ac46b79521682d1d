"""What holds while a block runs: not in the main thread, no garbage collection in it, and sleeps that end in time."""

from __future__ import annotations

import ctypes
import gc
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
_PR_SET_TIMERSLACK = 29  # linux/prctl.h


def sharp_sleep() -> None:
    """Let this thread's sleeps end when they should: Linux ends them up to 50 us late, to wake fewer times.

    A generator sleeps until the next sample is due, and small models answer in less than that.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)


@contextmanager
def no_collection() -> Iterator[None]:
    """Pause Python's cyclic garbage collection."""
    collecting = gc.isenabled()
    gc.collect(0)
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def in_thread(function: Callable[[], T], stop: threading.Event) -> T:
    """Run a function in a thread of its own, which Ctrl-C does not interrupt, and return what it returns.

    Where the caller is interrupted, `stop` is set and KeyboardInterrupt arrives when the function has ended: it has to
    look at `stop`.

    Raises:
        KeyboardInterrupt: the caller was interrupted; and whatever the function raises.
    """
    results: list[T] = []
    errors: list[BaseException] = []
    done = threading.Event()

    def work() -> None:
        try:
            results.append(function())
        except BaseException as error:  # noqa: BLE001 - it is raised again by the caller's thread
            errors.append(error)
        finally:
            done.set()

    thread = threading.Thread(target=work, name="measuring", daemon=True)
    try:
        thread.start()  # it waits for the thread, so Ctrl-C can come here too
        done.wait()  # and not join: in Python 3.11 an interrupted join takes a running thread for stopped
    except BaseException:
        stop.set()
        if thread.ident is not None:  # it runs; where it does not yet, it will find `stop`
            done.wait()
            thread.join()
        raise
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
