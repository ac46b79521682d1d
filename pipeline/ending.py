"""How a process ended, in words, and whether it may go well another time."""

from __future__ import annotations

import signal

# Signals by which a program ends itself: it would do so again. All others come from outside.
_OWN_FAULTS = {
    signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE, signal.SIGILL, signal.SIGBUS, signal.SIGTRAP, signal.SIGSYS,
}  # fmt: skip


def describe(status: int) -> tuple[str, bool]:
    """Return how a process ended, as words that follow its name, and whether that is transient.

    Args:
        status: exit status, or minus the number of the signal that ended it.
    """
    if status >= 0:
        return f"ended with exit status {status}", False
    try:
        number = signal.Signals(-status)
    except ValueError:
        return f"killed by signal {-status}", True
    text = (signal.strsignal(number) or "unknown").lower()
    if number in _OWN_FAULTS:
        return f"killed by {number.name} ({text}), a crash in native code", False
    hint = ", most often the system that ran out of memory" if number == signal.SIGKILL else ""
    return f"killed by {number.name} ({text}) from outside{hint}", True
