"""One way to run what may crash natively, hang or eat the memory: a child process with a deadline and a limit.

The child is started by the first call, keeps its modules and their state between calls (TensorFlow is imported once)
and is started again only after it died. Its own process group lets it be ended with everything it started.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from multiprocessing import connection
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from pipeline.ending import describe
from pipeline.errors import DiskError, ModelmillError, translate_os_error

P = ParamSpec("P")
T = TypeVar("T")

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)
_POLL_S = 0.1
_DEATH_S = 10.0  # a process whose pipe is closed is gone within this, or is killed


class CrashError(Exception):
    """The child died, or was ended, before it answered.

    Attributes:
        reason: what happened, as one sentence without a full stop.
        transient: it may go well another time (deadline, memory, a kill from outside), so it is no result to keep.
    """

    def __init__(self, reason: str, transient: bool) -> None:
        super().__init__(reason, transient)
        self.reason, self.transient = reason, transient

    def __str__(self) -> str:
        return self.reason


class FailedError(Exception):
    """The function raised an exception that is not ours; its traceback is in the child's standard error."""


class Child:
    """A process that runs functions one after another; a context manager that ends it.

    Args:
        deadline_s: seconds that one call may take, the start of the process included.
        memory_mb: MiB of resident memory that the child and its own children may hold together; None: no limit.
        threads: number of threads for OpenMP, BLAS and TensorFlow; None: as in this process's environment.
        log: file to which the child's standard output and error are appended; None: those of this process.
    """

    def __init__(
        self, *, deadline_s: float, memory_mb: int | None, threads: int | None = None, log: Path | None = None
    ) -> None:
        self._deadline_s, self._memory_mb, self._threads, self._log = deadline_s, memory_mb, threads, log
        self._process: multiprocessing.process.BaseProcess | None = None
        self._pipe: connection.Connection[Any, Any] | None = None
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._preparing = False

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    @property
    def pid(self) -> int | None:
        """Process id of the running child; None where there is none."""
        return self._process.pid if self._process is not None and self._process.is_alive() else None

    def prepare(self, function: Callable[[], object]) -> Child:
        """Start the process and let it run `function()` while the caller goes on; the first call waits for it.

        Whatever comes of it: what does not work there will not work in a call either, which tells it.
        """
        self._start()
        assert self._pipe is not None
        self._pipe.send_bytes(_pickled((function, (), {})))
        self._preparing = True
        return self

    def call(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `function(*args, **kwargs)` in the child and return its result; all of them must be picklable.

        Raises:
            ModelmillError: the function raised it; a disk that is full or forbidden arrives as DiskError.
            FailedError: the function raised something else, or its result cannot be pickled.
            CrashError: the child died, overran the deadline or took too much memory.
        """
        request = _pickled((function, args, kwargs))
        deadline = time.monotonic() + self._deadline_s
        if self._preparing:
            self._settle(deadline)
        if self.pid is None:
            self._end()
            self._start()
        assert self._process is not None
        assert self._pipe is not None
        watch = _Watch(self._process, deadline, self._deadline_s, self._memory_mb)
        try:
            with watch:
                self._pipe.send_bytes(request)
                answer = self._pipe.recv_bytes()
        except (EOFError, OSError):  # a broken pipe, in whatever shape: the child is gone
            process = self._process
            process.join(_DEATH_S)
            self._end()
            raise watch.verdict or _crash(process.exitcode) from None
        except BaseException:  # Ctrl-C: what is half-done in there must not go on
            self._end()
            raise
        if watch.verdict is not None:  # too late: it answered while it was being killed
            self._end()
        value: Any = pickle.loads(answer)
        if isinstance(value, _Raised):
            raise value.error
        result: T = value
        return result

    def _settle(self, deadline: float) -> None:
        """Wait for what `prepare` began; a process that died of it is replaced."""
        assert self._process is not None
        assert self._pipe is not None
        with _Watch(self._process, deadline, self._deadline_s, self._memory_mb):
            try:
                self._pipe.recv_bytes()
            except (EOFError, OSError):
                self._process.join(_DEATH_S)  # so that it is known to be gone
        self._preparing = False

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self._log), name="modelmill-child", daemon=False)
        # TensorFlow keeps generated code in temporary files until it exits, and a killed process removes nothing.
        self._temporary = tempfile.TemporaryDirectory(prefix="modelmill-", ignore_cleanup_errors=True)
        with _environment(self._threads, self._temporary.name), _sigint_blocked():
            self._process.start()
        theirs.close()  # so that the child's death is the pipe's end

    def _end(self) -> None:
        process, pipe, temporary = self._process, self._pipe, self._temporary
        self._process = self._pipe = self._temporary = None
        self._preparing = False
        if process is not None:
            _kill(process)
            process.join()
        if pipe is not None:
            pipe.close()
        if temporary is not None:
            temporary.cleanup()


class _Raised:
    """An exception on its way from the child to the parent."""

    def __init__(self, error: Exception) -> None:
        self.error = error


class _Watch:
    """A thread that ends the child at the deadline or above the memory limit, and knows why."""

    def __init__(
        self, process: multiprocessing.process.BaseProcess, deadline: float, deadline_s: float, memory_mb: int | None
    ) -> None:
        self.verdict: CrashError | None = None
        self._process, self._deadline, self._deadline_s, self._memory_mb = process, deadline, deadline_s, memory_mb
        self._answered = threading.Event()
        self._thread = threading.Thread(target=self._run, name="modelmill-watch", daemon=True)

    def __enter__(self) -> _Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._answered.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            left = self._deadline - time.monotonic()
            # Without a memory limit nothing is polled: what is timed in the child is left in peace.
            if self._answered.wait(left if self._memory_mb is None else min(left, _POLL_S)):
                return
            used = 0 if self._memory_mb is None else _resident_mb(self._process.pid)
            if self._memory_mb is not None and used > self._memory_mb:
                self.verdict = CrashError(
                    f"ended because it held {used} MiB of memory, more than its limit of {self._memory_mb} MiB", True
                )
            elif time.monotonic() >= self._deadline:
                self.verdict = CrashError(f"ended because it was not done after {self._deadline_s:g} s", True)
            if self.verdict is not None:
                _kill(self._process)
                return


def _resident_mb(pid: int | None) -> int:
    """Return the resident memory of a process and of all below it in MiB; 0 once it is gone."""
    import psutil

    total = 0
    with contextlib.suppress(psutil.Error):
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                total += process.memory_info().rss
    return total // 2**20


def _kill(process: multiprocessing.process.BaseProcess) -> None:
    """Kill a child and its process group."""
    if process.pid is None:
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        # The child has a group of its own a moment after its start; before that it has started nothing.
        if os.getpgid(process.pid) == process.pid:
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()


def _crash(exit_code: int | None) -> CrashError:
    """Return the error for a child that ended by itself or by someone else's signal."""
    if exit_code is None or exit_code >= 0:
        # nothing that is known to be the function's own fault, as a fault in native code is
        return CrashError(f"ended with exit status {exit_code} before it answered", True)
    return CrashError(*describe(exit_code))


@contextlib.contextmanager
def _environment(threads: int | None, temporary: str) -> Iterator[None]:
    """Set the variables that Python and libraries read when they start; a spawned child inherits them."""
    # The order of sets of strings decides what some converters write: it must be the same in every child.
    wanted = {"PYTHONHASHSEED": "0", "TMPDIR": temporary}
    if threads is not None:
        wanted |= dict.fromkeys(_THREAD_VARIABLES, str(threads))
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _sigint_blocked() -> Iterator[None]:
    """Hold Ctrl-C back: a child that starts inherits the mask, and does not die of it while it still imports."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# From here on: what runs in the child.


def _serve(pipe: connection.Connection[Any, Any], log: Path | None) -> None:
    """Answer calls until the parent closes the pipe."""
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_die_with_parent, name="modelmill-parent", daemon=True).start()
    if log is not None:
        _append_output(log)
    while True:
        try:
            request = pipe.recv_bytes()
        except (EOFError, OSError):
            return
        answer = _answer(request)
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):  # a log on a full disk is no reason to lose the answer
                stream.flush()
        try:
            pipe.send_bytes(answer)
        except OSError:
            return


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        with contextlib.suppress(OSError):
            os.killpg(os.getpgrp(), signal.SIGKILL)


def _append_output(log: Path) -> None:
    """Send what this process writes, native code included, to the end of a file."""
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    os.close(descriptor)


def _answer(request: bytes) -> bytes | memoryview:
    """Return the pickled result of a call, or its exception in a _Raised."""
    try:
        function, args, kwargs = pickle.loads(request)
        return _pickled(function(*args, **kwargs))
    except MemoryError as error:
        _tell_traceback()
        return _pickled(_Raised(CrashError(f"ran out of memory: {error or 'MemoryError'}", True)))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the boundary: everything becomes an answer
        _tell_traceback()
        return _pickled(_Raised(_translate(error)))


def _tell_traceback() -> None:
    with contextlib.suppress(OSError):  # standard error may be a log on a full disk
        traceback.print_exc()


def _pickled(value: Any) -> bytes | memoryview:
    buffer = io.BytesIO()
    ForkingPickler(buffer, pickle.HIGHEST_PROTOCOL).dump(value)
    return buffer.getbuffer()


def _translate(error: BaseException) -> Exception:
    """Return what the parent raises: an error of ours as it is, a disk's as DiskError, all else as FailedError."""
    if isinstance(error, (ModelmillError, CrashError)):
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:  # noqa: BLE001 - whatever its __reduce__ did, the message can still be told
            return FailedError(f"{type(error).__name__}: {error}")
        return error
    return _disk_error(error) or FailedError(f"{type(error).__name__}: {error}")


def _disk_error(error: BaseException) -> DiskError | None:
    """Return the DiskError for an exception of the system or of TensorFlow that is about a disk."""
    if isinstance(error, OSError):
        return translate_os_error(error)
    # Other libraries may say "permission denied" about something that is no disk.
    if isinstance(error, Exception) and type(error).__module__.startswith("tensorflow"):
        return translate_os_error(error)
    return None
