from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.edge import device
from pipeline.errors import MissingError


def script(folder: Path, text: str) -> tuple[str, ...]:
    path = folder / "device.py"
    path.write_text(text)
    return sys.executable, str(path), "{model}"


def test_command_gets_the_files_path_and_its_lines_are_milliseconds(tmp_path: Path) -> None:
    model = tmp_path / "a model.tflite"
    model.write_bytes(b"12345")
    command = script(tmp_path, "import sys; print(len(open(sys.argv[1], 'rb').read())); print(); print(0.5)")
    assert device.run_once(command, model, 30).tolist() == [500_000, 5_000_000]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import sys; print('no cable', file=sys.stderr); sys.exit(3)", "it ended with exit code 3: no cable"),
        ("import time; print(1.0, flush=True); time.sleep(60)", "it was not done after 1 s"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "it was killed by SIGSEGV"),
        ("print('took 3 ms')", "line 1: 'took 3 ms'"),
        ("print(1.5); print(-1)", "line 2: '-1'"),
        ("print('nan')", "line 1: 'nan'"),
        ("", "found: nothing"),
    ],
)
def test_command_that_fails_is_told_with_what_it_said(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(device.DeviceError) as caught:
        device.run_once(script(tmp_path, text), tmp_path / "m.tflite", 1 if "sleep" in text else 30)
    assert said in str(caught.value)
    assert caught.value.transient
    assert ("edge.deadline_s" in str(caught.value)) == ("sleep" in text)


def test_helper_that_outlives_the_command_keeps_nobody_waiting(tmp_path: Path) -> None:
    # as ssh leaves one behind, which holds standard error
    text = (
        "import subprocess, sys; print(1.5); "
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(20)'], start_new_session=True)"
    )
    assert device.run_once(script(tmp_path, text), tmp_path / "m.tflite", 10).tolist() == [1_500_000]


def test_command_and_what_it_started_die_when_we_are_killed(tmp_path: Path) -> None:
    told = tmp_path / "pids"
    command = ["sh", "-c", 'sleep 60 & echo $$ $! > "$1.part"; mv "$1.part" "$1"; wait', "sh", str(told)]
    ours = f"from pipeline.edge.process import call; call({command!r}, 60)"
    with subprocess.Popen([sys.executable, "-c", ours]) as process:
        _until(told.exists)
        pids = [int(word) for word in told.read_text().split()]
        assert all(map(_alive, pids))
        time.sleep(0.2)  # the watch is a moment younger
        process.send_signal(signal.SIGKILL)
    _until(lambda: not any(map(_alive, pids)))


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"  # nobody may reap an orphan


def test_no_shell_looks_at_the_words(tmp_path: Path) -> None:
    command = (*script(tmp_path, "import sys; print(len(sys.argv))"), "$(touch made); a b")
    assert device.run_once(command, tmp_path / "m.tflite", 30).tolist() == [3_000_000]


def test_program_that_is_not_there_is_missing() -> None:
    with pytest.raises(MissingError, match="no-such-adb"):
        device.require(("no-such-adb", "{model}"))
    device.require((sys.executable, "{model}"))


def test_runs_become_percentiles_with_intervals_over_the_runs() -> None:
    found = device.summary([np.arange(1, 101) * 10_000, np.arange(1, 101) * 20_000])
    assert found.queries == 200
    assert found.valid
    assert found.block_p50_ms == [0.51, 1.02]
    assert found.p50_low < found.p50_ms < found.p50_high
    assert found.p50_ms == pytest.approx(0.51 * 2**0.5)
    assert found.p99_ms == pytest.approx(1.0 * 2**0.5)
    assert found.settings["percentile"] == 0.9


def test_few_answers_make_no_median_that_counts() -> None:
    found = device.summary([np.array([1_000_000, 2_000_000])] * 3)
    assert not found.valid
    assert "2 answers in a run of edge.command are too few for a median" in found.problems[0]
