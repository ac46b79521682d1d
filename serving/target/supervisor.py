"""Runs a server for as long as its standard input is open: `python supervisor.py PROGRAM ARGUMENT...`.

It leads a process group of its own, in which the server is.

Whoever holds the other end of the pipe may end in any way, kill -9 included: the pipe closes and the server ends with
it. Needs nothing but the standard library, so that it costs little.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

_ASKED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GRACE_S = 5.0  # a server that does not end by SIGTERM within this is killed


def main() -> None:
    """Run the program; end as it ended, by the same signal or with the same status."""
    for number in _ASKED:
        signal.signal(number, signal.SIG_IGN)  # the pipe says when to end
    try:
        server = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, preexec_fn=_as_usual)
    except OSError as error:
        sys.exit(f"{sys.argv[1]}: {error.strerror or error}")
    closed = threading.Event()
    threading.Thread(target=_end_with_pipe, args=(server, closed), daemon=True).start()
    status = server.wait()
    if closed.is_set():
        os.killpg(0, signal.SIGKILL)  # what a wrapper leaves behind, and this process itself
    if status < 0:
        if -status != signal.SIGKILL:
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


def _as_usual() -> None:
    for number in _ASKED:
        signal.signal(number, signal.SIG_DFL)


def _end_with_pipe(server: subprocess.Popen[bytes], closed: threading.Event) -> None:
    """Ask the whole group to end once the pipe is closed; the server may be below a wrapper that passes nothing on."""
    os.read(0, 1)
    closed.set()
    os.killpg(0, signal.SIGTERM)
    try:
        server.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
