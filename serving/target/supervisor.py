"""Runs a server for as long as its standard input is open: `python supervisor.py PROGRAM ARGUMENT...`.

Whoever holds the other end of the pipe may end in any way, kill -9 included: the pipe closes and the server ends with
it. Needs nothing but the standard library, so that it costs little.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

GRACE_S = 5.0  # a server that does not end by SIGTERM within this is killed


def main() -> None:
    """Run the program; end as it ended, by the same signal or with the same status."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the pipe says when to end
    try:
        server = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, restore_signals=True, preexec_fn=_as_usual)
    except OSError as error:
        sys.exit(f"{sys.argv[1]}: {error.strerror or error}")
    threading.Thread(target=_end_with_pipe, args=(server,), daemon=True).start()
    status = server.wait()
    if status < 0:
        signal.signal(-status, signal.SIG_DFL) if -status != signal.SIGKILL else None
        os.kill(os.getpid(), -status)
    os._exit(status)


def _as_usual() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def _end_with_pipe(server: subprocess.Popen[bytes]) -> None:
    os.read(0, 1)
    server.terminate()
    try:
        server.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        server.kill()


if __name__ == "__main__":
    main()
