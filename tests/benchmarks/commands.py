"""What the benchmarks' commands share: arguments checked before anything starts, endings without a traceback."""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import ModelmillError

_STOPPED = 130
_GRACE_S = 20  # of a child that was interrupted, to say how it goes on


def ended(main: Callable[[], None]) -> None:
    """Run a command; what a user did ends in a line or two, as modelmill's own do.

    Raises:
        SystemExit: 130 where it was interrupted, a ModelmillError's exit code, or what `main` raises.
    """
    try:
        main()
    except KeyboardInterrupt:
        print("stopped: the same command goes on, what was found is kept", file=sys.stderr)
        raise SystemExit(_STOPPED) from None
    except ModelmillError as error:
        print(error, file=sys.stderr)
        raise SystemExit(error.exit_code) from None


def existing(text: str) -> Path:
    """Return a path that an argument names; argparse shows why not."""
    path = Path(text)
    if not path.exists():
        raise argparse.ArgumentTypeError(f"expected a file or folder that exists, found none: {text}")
    return path


def existing_file(text: str) -> Path:
    """Return the path of a file that an argument names; argparse shows why not."""
    path = existing(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"expected a file, found a folder: {text}")
    return path


def folder(text: str) -> Path:
    """Return a folder that an argument names, made where it is not there; argparse shows why not."""
    path = Path(text).absolute()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"expected a folder that is there or can be made, found {text}: {error.strerror}"
        raise argparse.ArgumentTypeError(message) from None
    return path


def add_again(parser: argparse.ArgumentParser, what: str) -> None:
    """Add --again, which forgets findings."""
    told = f"forget {what}, and take them anew; once it was stopped, go on without this"
    parser.add_argument("--again", action="store_true", help=told)


def positive(text: str) -> int:
    """Return a number of one or more; argparse shows why not."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"expected a whole number of 1 or more, found {text}")
    return int(text)


@contextlib.contextmanager
def child(arguments: Sequence[str], **streams: Any) -> Iterator[subprocess.Popen[str]]:
    """Start a process that ends with the block; where that is interrupted, a terminal has told the process, too."""
    with subprocess.Popen(arguments, text=True, **streams) as process:
        try:
            yield process
        except KeyboardInterrupt:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE_S)
            process.terminate()
            raise


def modelmill(arguments: Sequence[str], *, fine: Sequence[int]) -> int:
    """Run modelmill as a user does, and return its exit code; what it says goes to stderr, beside our tables.

    Args:
        fine: exit codes after which there is something to go on with.

    Raises:
        SystemExit: it ended with another, and has said why.
    """
    with child([sys.executable, "-m", "pipeline", *arguments], stdout=sys.stderr) as process:
        code = process.wait()
    if code == _STOPPED:
        raise KeyboardInterrupt
    if code < 0:
        raise SystemExit(f"modelmill {arguments[0]} was ended by signal {-code}; the same command goes on")
    if code not in fine:
        raise SystemExit(code)
    return code
