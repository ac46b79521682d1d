"""The live display on a real pseudo-terminal, and plain lines and JSON elsewhere."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import logging, os, subprocess, sys, time
from pathlib import Path
from pipeline.console import Reporter, Streams
from pipeline.events import Note, Progress, StageFinished, StageReused, StageStarted
streams = Streams()
with streams.chatter_to(Path("log.txt")):
    reporter = Reporter(streams, sys.argv[1])
    with reporter.shown():
        reporter.emit(StageStarted("train", "nothing is stored for it yet"))
        print("print chatter")
        logging.warning("logging chatter")
        os.write(2, b"native chatter\\n")
        subprocess.run(["echo", "child chatter"])
        for epoch in range(1, 4):
            reporter.emit(Progress("train", "epoch", epoch, 3, {"loss": 0.5 / epoch, "val_accuracy": 0.9}, item="[x]"))
        time.sleep(0.5)  # the display draws ten times a second
        reporter.emit(Note("train", "falls back from [a] to [b]", level="warning"))
        reporter.emit(StageFinished("train", 1.5, {"parameters": 66218, "val_loss": 0.25}))
        cut = {"macs": 702000, "macs_before": 1493632, "groups": 12, "left_groups": 3, "val_accuracy": 0.98}
        reporter.emit(StageFinished("shrink", 2.0, cut))
        reporter.emit(StageReused("export", "same settings"))
print("after")
"""
CHATTER = ["print chatter", "logging chatter", "native chatter", "child chatter"]


def on_terminal(mode: str, cwd: Path, **environment: str) -> str:
    """Run the script on a pseudo-terminal and return what a user would have seen, control sequences included."""
    parent, child = pty.openpty()
    env = {key: value for key, value in os.environ.items() if key != "CI"} | {"TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, mode], cwd=cwd, stdout=child, stderr=child, env=env | environment
    ) as process:
        os.close(child)
        seen = b""
        while True:
            try:
                part = os.read(parent, 65536)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            seen += part
        assert process.wait(60) == 0, seen
    os.close(parent)
    return seen.decode()


def test_terminal_shows_bars_with_epoch_and_metrics_and_chatter_goes_to_the_log(tmp_path: Path) -> None:
    seen = on_terminal("auto", tmp_path)
    assert "3/3" in seen
    assert "epoch" in seen
    assert "val_accuracy 0.9" in seen
    assert "falls back from [a] to [b]" in seen
    assert "parameters 66,218 val_loss 0.25" in seen
    assert "1,493,632 -> 702,000 MACs (47 %), 12 groups, 3 left alone, val_accuracy 0.98" in seen
    assert "after" in seen
    log = (tmp_path / "log.txt").read_text(encoding="utf-8")
    for chatter in CHATTER:
        assert chatter not in seen
        assert chatter in log
    assert "StageStarted(stage='train', reason='nothing is stored for it yet')" in log


def test_terminal_gets_plain_lines_when_ci_is_set(tmp_path: Path) -> None:
    seen = on_terminal("auto", tmp_path, CI="true")
    assert "3/3" not in seen
    assert "train: runs, nothing is stored for it yet" in seen.replace("\x1b[1m", "").replace("\x1b[0m", "")


def test_quiet_terminal_shows_nothing(tmp_path: Path) -> None:
    assert on_terminal("quiet", tmp_path).split() == ["after"]
