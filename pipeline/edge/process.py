"""A program of somebody else's, run without a shell and with a deadline: what it printed and how it ended."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pipeline.ending import describe

_SHOWN = 5  # lines of what it said last


@dataclass(frozen=True)
class Ended:
    """How a program ended.

    Attributes:
        output, errors: what it printed.
        problem: why it is no success, as a part of a sentence; empty: it is one.
        transient: it may go well another time.
    """

    output: str
    errors: str
    problem: str
    transient: bool = False

    def last_words(self) -> str:
        """Return the last lines of what it said: of its errors, or where there are none of its output."""
        lines = [line.rstrip() for line in (self.errors.strip() or self.output).splitlines() if line.strip()]
        return "\n".join(lines[-_SHOWN:]) or "it said nothing"


def call(command: Sequence[str], deadline_s: float, folder: Path | None = None) -> Ended:
    """Run a program; what it has started is ended with it at the deadline.

    It writes into files, not into pipes: a helper that it leaves behind (ssh with ControlPersist) may hold a pipe open
    for ever, and what counts is when the program itself has ended. Until then it dies with this process, whatever ends
    that: a timer left behind would share the device with the next one.

    Args:
        command: its words; no shell looks at them.
        deadline_s: after which it is killed.
        folder: it runs in; None: this process's.

    Raises:
        OSError: it cannot be started.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
        )
        late = False
        try:
            with _dying_with_us(process):
                process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            late = True
            _kill(process)
        except BaseException:  # Ctrl-C
            _kill(process)
            raise
        output, errors = _text(out), _text(err)
    if late:
        return Ended(output, errors, f"it was not done after {deadline_s:g} s", True)
    if process.returncode < 0:
        problem, transient = describe(process.returncode)
        return Ended(output, errors, f"it was {problem}", transient)
    return Ended(output, errors, f"it ended with exit code {process.returncode}" if process.returncode else "")


@contextmanager
def _dying_with_us(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Have a program's whole group killed should this process die, even of SIGKILL: a shell's input ends with us."""
    watch = subprocess.Popen(
        ["/bin/sh", "-c", 'read -r _; kill -s KILL -- "-$1"', "sh", str(process.pid)], stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    assert watch.stdin is not None
    try:
        yield
    finally:
        watch.kill()  # before its input is closed, which is what it waits for
        watch.wait()
        watch.stdin.close()


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8", errors="replace")


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
