from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from pipeline.errors import StoppedError
from pipeline.stopping import SIGNALS, interruptible


def stop(number: signal.Signals = signal.SIGTERM) -> None:
    os.kill(os.getpid(), number)
    time.sleep(0.01)


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_signal_is_a_keyboard_interrupt(number: signal.Signals) -> None:
    with pytest.raises(KeyboardInterrupt), interruptible():
        stop(number)


def test_interrupt_that_was_swallowed_is_raised_again() -> None:
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt), interruptible():
        with suppress(BaseException):  # as libraries do
            stop()
        time.sleep(20)
    assert time.monotonic() - started < 10


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_interrupt_that_was_dropped_by_python_is_raised_again() -> None:
    class Dropping:
        def __del__(self) -> None:
            stop()

    with pytest.raises(KeyboardInterrupt), interruptible():
        Dropping()
        time.sleep(20)


def test_exit_code_is_kept_when_the_interrupt_came_while_a_class_was_being_made() -> None:
    script = """
import os, signal, sys
from pipeline.stopping import interruptible
try:
    with interruptible():
        exec("os.kill(os.getpid(), signal.SIGINT); [None for _ in range(1000)]")
except KeyboardInterrupt:
    sys.exit(130)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 130


@contextmanager
def slow_to_clean_up(done: list[str]) -> Iterator[None]:
    try:
        yield
    finally:
        try:
            raise ValueError
        except ValueError:
            time.sleep(1.5)
        time.sleep(1.5)
        done.append("cleaned up")


def test_cleaning_up_is_left_alone() -> None:
    done: list[str] = []
    with pytest.raises(StoppedError), interruptible(), slow_to_clean_up(done):
        try:
            with slow_to_clean_up(done):
                stop()
        except KeyboardInterrupt:
            raise StoppedError("stopped") from None
    assert done == ["cleaned up"] * 2
    time.sleep(1.5)  # and nothing comes after it


def test_ignored_signal_stays_ignored_and_handlers_are_put_back() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible():
            stop(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
