"""Runs the installed command as a user does: a process, its output, its exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

MODELMILL = str(Path(sys.executable).with_name("modelmill"))

# measured in every way, but briefly: a block of a served model that a p99 could rest on takes a second and more
BRIEFLY = ("measure.resamples=100", "measure.latency.min_block_ms=10", "measure.latency.batch_min_block_ms=10",
           "measure.latency.percentile=0.5", "measure.latency.batch_percentile=0.5",
           "measure.latency.warmup_queries=10")  # fmt: skip

# a whole line in little time; quality is for the default recipe's own test
FAST = ("train.epochs=2", *BRIEFLY, "judge={gates: {min_size_ratio: 2}}")

# one model and nothing made smaller, for what is not about those stages: its files are train.*
ONLY_TRAIN = ("distill=null", "shrink=null", "prune=null", "quantize=null", "export.stages=null")

# where no test asks for one: whether this machine has a Docker engine must not decide what `auto` finds
NO_ENGINE = {"DOCKER_HOST": "unix:///nowhere/docker.sock"}


def options(overrides: Iterable[str]) -> list[str]:
    """Return --set options."""
    return [part for override in overrides for part in ("--set", override)]


def modelmill(
    *arguments: str, cwd: Path, prefix: Sequence[str] = (), timeout_s: float = 600, **environment: str
) -> Any:
    """Run the command to its end in a folder and return the finished process, output as text."""
    return subprocess.run(
        [*prefix, MODELMILL, *arguments], cwd=cwd, capture_output=True, text=True, check=False, timeout=timeout_s,
        env=os.environ | NO_ENGINE | {"COLUMNS": "200"} | environment,
    )  # fmt: skip


def report(cwd: Path, name: str = "digits") -> dict[str, Any]:
    """Return a run's report.json."""
    loaded: dict[str, Any] = json.loads((cwd / "runs" / name / "report.json").read_text(encoding="utf-8"))
    return loaded


def statuses(cwd: Path, name: str = "digits") -> list[str]:
    """Return what became of the stages that the recipe of a run has, in their order."""
    return [stage["status"] for stage in report(cwd, name)["stages"] if stage["status"] != "skipped"]


def interrupted(
    arguments: Sequence[str], cwd: Path, *, when: Any, by: signal.Signals | Callable[[], object] = signal.SIGINT,
    **environment: str,
) -> Any:  # fmt: skip
    """Run with --json and signal the process once `when(event)` is true; returns (exit code, events, stderr).

    Args:
        by: the signal, or what is done instead.
    """
    with subprocess.Popen(
        [MODELMILL, *arguments, "--json"], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | NO_ENGINE | environment,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        events = []
        for line in process.stdout:
            events.append(json.loads(line))
            if when is not None and when(events[-1]):
                process.send_signal(by) if isinstance(by, signal.Signals) else by()
                when = None
        assert when is None, f"never came: {events}"
        return process.wait(120), events, process.stderr.read()
