"""Functions that misbehave, for the tests of isolate: a child process imports them by name."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from pipeline.errors import DivergedError
from pipeline.isolate import Child

calls = 0


def count() -> int:
    """Return how often this process was asked."""
    global calls
    calls += 1
    return calls


def pid() -> int:
    return os.getpid()


def segfault() -> None:
    ctypes.string_at(0)


def end_by(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(60)


def leave(status: int) -> None:
    os._exit(status)


def sleep(seconds: float) -> None:
    time.sleep(seconds)


def sleep_below(file: Path) -> None:
    """Start a process of its own, write its id to a file and wait for it."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    file.write_text(str(process.pid))
    process.wait()


def hold(mebibytes: int) -> None:
    """Hold that much touched memory for a while."""
    block = np.ones(mebibytes * 2**17)
    time.sleep(60)
    del block


def hold_below(mebibytes: int) -> None:
    """Let a process below this one hold the memory."""
    code = f"import time; block = bytearray(b'x') * ({mebibytes} * 2**20); time.sleep(60)"
    subprocess.run([sys.executable, "-c", code], check=True)


def run_out_of_memory() -> None:
    raise MemoryError("no room for 3 tensors")


def divide(a: float, b: float) -> float:
    return a / b


def diverge() -> None:
    raise DivergedError("the loss is not finite", expected="a number", found="nan", todo="lower train.learning_rate")


def fill_disk() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/somewhere/model.tflite")


def fill_disk_as_tensorflow_says_it() -> None:
    kind = type("ResourceExhaustedError", (Exception,), {"__module__": "tensorflow.python.framework.errors_impl"})
    raise kind("/somewhere/variables.data; No space left on device [Op:SaveV2]")


def leave_a_temporary_file() -> Path:
    descriptor, name = tempfile.mkstemp()
    os.close(descriptor)
    return Path(name)


def give_a_lambda() -> object:
    return lambda: None


def double(array: np.ndarray) -> np.ndarray:
    return array * 2


def environment(name: str) -> str | None:
    return os.environ.get(name)


def signal_parent(number: int) -> None:
    os.kill(os.getppid(), number)
    time.sleep(60)


def write_both_streams() -> None:
    print("on standard output")
    os.write(2, b"from native code\n")


def loaded(*names: str) -> list[str]:
    """Return which of the modules this process has imported."""
    return [name for name in names if name in sys.modules]


def child_that_sleeps(file: Path) -> None:
    """Start a Child, write its process id to a file, and wait in a call."""
    with Child(deadline_s=60, memory_mb=None) as child:
        file.write_text(str(child.call(pid)))
        child.call(sleep, 60)


def ignored(number: int) -> bool:
    return signal.getsignal(number) == signal.SIG_IGN


if __name__ == "__main__":
    child_that_sleeps(Path(sys.argv[1]))
