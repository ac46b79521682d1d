"""A child process really crashes, hangs, eats memory and loses its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from pipeline.errors import DiskError, DivergedError
from pipeline.isolate import Child, CrashError, FailedError
from tests.pipeline import isolated


@pytest.fixture
def child() -> Iterator[Child]:
    with Child(deadline_s=60, memory_mb=None) as child:
        yield child


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Return whether the condition came true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_isolate_imports_no_numpy_and_no_tensorflow() -> None:
    code = "import sys, pipeline.isolate; print([m for m in ('numpy', 'tensorflow', 'psutil') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_a_child_keeps_its_state_between_calls(child: Child) -> None:
    assert [child.call(isolated.count) for _ in range(3)] == [1, 2, 3]
    assert isolated.calls == 0


def test_a_prepared_child_works_while_the_caller_does_and_answers_then() -> None:
    with Child(deadline_s=60, memory_mb=None) as child:
        child.prepare(isolated.count)
        assert child.pid is not None
        assert child.call(isolated.count) == 2


def test_a_child_that_dies_of_its_preparation_is_replaced() -> None:
    with Child(deadline_s=60, memory_mb=None) as child:
        pid = child.prepare(isolated.segfault).pid
        assert child.call(isolated.pid) != pid


def test_a_child_starts_with_the_first_call_and_ends_with_the_block() -> None:
    with Child(deadline_s=60, memory_mb=None) as child:
        assert child.pid is None
        pid = child.call(isolated.pid)
        assert child.pid == pid != os.getpid()
    assert child.pid is None
    assert is_gone(pid)


def test_a_call_is_a_crash_with_the_signals_name_when_native_code_segfaults(child: Child) -> None:
    with pytest.raises(CrashError) as caught:
        child.call(isolated.segfault)
    assert caught.value.reason == "killed by SIGSEGV (segmentation fault), a crash in native code"
    assert str(caught.value) == caught.value.reason
    assert not caught.value.transient


def test_the_next_call_has_a_fresh_child_when_the_last_one_crashed(child: Child) -> None:
    first = child.call(isolated.pid)
    assert child.call(isolated.count) == 1
    with pytest.raises(CrashError):
        child.call(isolated.segfault)
    assert child.call(isolated.count) == 1
    assert child.call(isolated.pid) != first


@pytest.mark.parametrize(
    ("number", "transient", "reason"),
    [
        (signal.SIGABRT, False, "killed by SIGABRT (aborted), a crash in native code"),
        (signal.SIGTERM, True, "killed by SIGTERM (terminated) from outside"),
        (signal.SIGKILL, True, "killed by SIGKILL (killed) from outside, most often the system that ran out of memory"),
    ],
)
def test_a_crash_is_transient_when_the_signal_comes_from_outside(
    child: Child, number: int, transient: bool, reason: str
) -> None:
    with pytest.raises(CrashError) as caught:
        child.call(isolated.end_by, number)
    assert caught.value.reason == reason
    assert caught.value.transient is transient


def test_a_call_is_a_crash_with_the_status_when_the_child_leaves(child: Child) -> None:
    with pytest.raises(CrashError) as caught:
        child.call(isolated.leave, 7)
    assert caught.value.reason == "ended with exit status 7 before it answered"
    assert caught.value.transient


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_call_is_answered_when_its_log_is_on_a_full_disk() -> None:
    with Child(deadline_s=60, memory_mb=None, log=Path("/dev/full")) as child:
        with pytest.raises(FailedError):  # its traceback finds no room
            child.call(isolated.divide, 1.0, 0.0)
        assert child.call(isolated.divide, 4.0, 2.0) == 2.0


def test_a_call_runs_in_a_fresh_child_when_the_idle_one_was_killed(child: Child) -> None:
    first = child.call(isolated.pid)
    os.kill(first, signal.SIGKILL)
    assert wait_until(lambda: child.pid is None)
    assert child.call(isolated.pid) != first


def test_a_call_is_ended_when_it_overruns_the_deadline() -> None:
    with Child(deadline_s=6, memory_mb=None) as child:
        child.call(isolated.pid)
        start = time.monotonic()
        with pytest.raises(CrashError) as caught:
            child.call(isolated.sleep, 60)
        assert 5.9 < time.monotonic() - start < 30
        assert caught.value.reason == "ended because it was not done after 6 s"
        assert caught.value.transient


def test_what_the_child_started_is_ended_with_it(tmp_path: Path) -> None:
    with Child(deadline_s=8, memory_mb=None) as child, pytest.raises(CrashError):
        child.call(isolated.sleep_below, tmp_path / "pid")
    grandchild = int((tmp_path / "pid").read_text())
    assert wait_until(lambda: is_gone(grandchild))


def test_temporary_files_of_the_child_are_removed_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Child(deadline_s=60, memory_mb=None) as child:
        file = child.call(isolated.leave_a_temporary_file)
        assert file.exists()
        assert file.is_relative_to(tmp_path)
        with pytest.raises(CrashError):
            child.call(isolated.segfault)
        assert list(tmp_path.iterdir()) == []
        child.call(isolated.leave_a_temporary_file)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("function", [isolated.hold, isolated.hold_below])
def test_a_call_is_ended_when_child_and_grandchildren_hold_too_much_memory(function: Callable[[int], None]) -> None:
    with Child(deadline_s=60, memory_mb=300) as child:
        with pytest.raises(CrashError, match=r"held \d+ MiB of memory, more than its limit of 300 MiB") as caught:
            child.call(function, 500)
        assert caught.value.transient


def test_running_out_of_memory_is_transient(child: Child) -> None:
    with pytest.raises(CrashError, match="ran out of memory: no room for 3 tensors") as caught:
        child.call(isolated.run_out_of_memory)
    assert caught.value.transient


def test_an_exception_arrives_as_its_message_and_its_traceback_is_in_the_log(tmp_path: Path) -> None:
    with Child(deadline_s=60, memory_mb=None, log=tmp_path / "log.txt") as child:
        with pytest.raises(FailedError, match=r"^ZeroDivisionError: division by zero$"):
            child.call(isolated.divide, 1, b=0)
        assert child.call(isolated.divide, 1, b=2) == 0.5
    log = (tmp_path / "log.txt").read_text()
    assert "Traceback" in log
    assert "return a / b" in log


def test_the_log_is_appended_to_by_python_and_native_code(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text("before\n")
    with Child(deadline_s=60, memory_mb=None, log=tmp_path / "log.txt") as child:
        child.call(isolated.write_both_streams)
        assert set((tmp_path / "log.txt").read_text().splitlines()) == {
            "before",
            "on standard output",
            "from native code",
        }


def test_an_error_of_ours_arrives_with_all_its_fields(child: Child) -> None:
    with pytest.raises(DivergedError) as caught:
        child.call(isolated.diverge)
    error = caught.value
    assert (error.what, error.expected, error.found, error.todo) == (
        "the loss is not finite",
        "a number",
        "nan",
        "lower train.learning_rate",
    )


@pytest.mark.parametrize("function", [isolated.fill_disk, isolated.fill_disk_as_tensorflow_says_it])
def test_a_full_disk_arrives_as_a_disk_error(child: Child, function: Callable[[], None]) -> None:
    with pytest.raises(DiskError, match=r"(?i)no space left on"):
        child.call(function)


def test_a_call_fails_and_the_child_goes_on_when_the_result_cannot_be_pickled(child: Child) -> None:
    pid = child.call(isolated.pid)
    with pytest.raises(FailedError, match="give_a_lambda"):
        child.call(isolated.give_a_lambda)
    assert child.call(isolated.pid) == pid


def test_large_arrays_go_through_the_pipe(child: Child) -> None:
    array = np.arange(5_000_000, dtype=np.float32)
    assert np.array_equal(child.call(isolated.double, array), array * 2)


def test_the_child_reads_its_threads_and_this_process_keeps_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    with Child(deadline_s=60, memory_mb=None, threads=1) as child:
        assert child.call(isolated.environment, "OMP_NUM_THREADS") == "1"
        assert child.call(isolated.environment, "TF_NUM_INTRAOP_THREADS") == "1"
    assert os.environ["OMP_NUM_THREADS"] == "5"
    assert "TF_NUM_INTRAOP_THREADS" not in os.environ


def test_ctrl_c_is_ignored_in_the_child(child: Child) -> None:
    assert child.call(isolated.ignored, signal.SIGINT)


def test_ctrl_c_in_the_parent_ends_the_child_at_once(child: Child) -> None:
    pid = child.call(isolated.pid)
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        child.call(isolated.signal_parent, signal.SIGINT)
    assert time.monotonic() - start < 10
    assert child.pid is None
    assert is_gone(pid)


def test_the_child_is_gone_when_its_parent_was_killed(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    parent = subprocess.Popen([sys.executable, "-m", "tests.pipeline.isolated", str(file)])
    try:
        assert wait_until(lambda: file.exists() and file.read_text() != "", 30)
        pid = int(file.read_text())
        assert not is_gone(pid)
        parent.kill()
        parent.wait()
        assert wait_until(lambda: is_gone(pid))
    finally:
        parent.kill()
        parent.wait()
