"""What a user of a benchmark gets wrong ends in a line, and modelmill's own exit codes are passed on."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import InputError
from tests.benchmarks import commands
from tests.benchmarks.findings import Findings


def interrupted() -> None:
    raise KeyboardInterrupt


def wrong() -> None:
    raise InputError("no such key", expected="epochs", found="epoch", todo="correct it")


@pytest.mark.parametrize(
    ("main", "code", "said"),
    [
        (interrupted, 130, "stopped: the same command goes on"),
        (wrong, 2, "no such key\n  expected: epochs\n  found: epoch\n  what to do: correct it"),
    ],
)
def test_command_ends_in_a_line_with_an_exit_code(
    main: Any, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        commands.ended(main)
    assert ended.value.code == code
    assert said in capsys.readouterr().err


def test_arguments_that_name_nothing_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert commands.existing(str(tmp_path / "file")) == tmp_path / "file"
    assert commands.folder(str(tmp_path / "new" / "one")).is_dir()
    for kind, text, said in (
        (commands.existing, str(tmp_path / "none"), "expected a file or folder that exists, found none: "),
        (commands.existing_file, str(tmp_path), "expected a file, found a folder: "),
        (commands.folder, str(tmp_path / "file"), "expected a folder that is there or can be made, found "),
        (commands.positive, "0", "expected a whole number of 1 or more, found 0"),
    ):
        with pytest.raises(argparse.ArgumentTypeError, match=said):
            kind(text)


def test_exit_codes_of_modelmill_are_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    assert commands.modelmill(["run", "no-such-recipe"], fine=(0, 2)) == 2
    with pytest.raises(SystemExit) as ended:
        commands.modelmill(["run", "no-such-recipe"], fine=(0,))
    assert ended.value.code == 2
    heard = capfd.readouterr()
    assert heard.err.count("no-such-recipe") >= 2
    assert heard.out == ""


def test_modelmill_that_was_killed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    started = subprocess.Popen
    killing = [sys.executable, "-c", f"import os; os.kill(os.getpid(), {int(signal.SIGKILL)})"]
    monkeypatch.setattr("tests.benchmarks.commands.subprocess.Popen", lambda *_, **more: started(killing, **more))
    with pytest.raises(SystemExit, match="modelmill run was ended by signal 9; the same command goes on"):
        commands.modelmill(["run"], fine=(0,))


def test_process_outlives_no_interruption(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "_GRACE_S", 0.1)
    with (
        pytest.raises(KeyboardInterrupt),
        commands.child([sys.executable, "-c", "import time; time.sleep(600)"]) as process,
    ):
        raise KeyboardInterrupt
    assert process.wait(20) == -signal.SIGTERM


def test_findings_that_are_broken_are_named(tmp_path: Path) -> None:
    (tmp_path / "mnist.json").write_text("{")
    with pytest.raises(SystemExit, match=r"mnist\.json is no JSON; without it, all is measured again: remove it"):
        Findings("mnist", "python -m mnist", tmp_path)
