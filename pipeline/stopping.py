"""Ctrl-C, SIGTERM and SIGHUP as KeyboardInterrupt, raised once more where somebody has swallowed it.

Libraries have bare `except:` clauses, in their imports for one, and Python itself drops what is raised in a destructor.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_AGAIN_S = 1.0


class StopRequestedError(KeyboardInterrupt):
    """A signal to stop.

    A class of its own: where a plain KeyboardInterrupt leaves code that was compiled from a string (dataclasses are
    made so), Python remembers it, and the process dies of SIGINT in the end, whatever it exits with.
    """


@contextmanager
def interruptible() -> Iterator[None]:
    """Let a signal to stop raise KeyboardInterrupt in here, again every second until somebody handles it.

    A signal that is ignored stays so, as nohup asks for. In the main thread only.
    """
    before = {number: signal.getsignal(number) for number in SIGNALS}
    alarm = signal.signal(signal.SIGALRM, _raise_unless_handled)
    try:
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, _raise)
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in {**before, signal.SIGALRM: alarm}.items():
            signal.signal(number, handler)


def _raise(*_: object) -> NoReturn:
    signal.setitimer(signal.ITIMER_REAL, _AGAIN_S, _AGAIN_S)
    raise StopRequestedError


def _raise_unless_handled(*_: object) -> None:
    error = sys.exception()  # what the interrupted code is handling: cleaning up after it, for one
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return
        error = error.__context__
    raise StopRequestedError
