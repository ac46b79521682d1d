"""A real device, reached by a command of the user's: it takes a .tflite and prints how long each answer took.

The protocol: the command is run several times, each time with the file's path in place of {model}; each run prints the
milliseconds of one answer a line on its standard output, and ends with exit code 0. A run is a block.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.edge.config import MODEL
from pipeline.edge.process import call
from pipeline.errors import MissingError, RunError
from pipeline.files import sha256
from pipeline.measuring.block import percentile, queries_needed
from pipeline.measuring.histogram import Histogram
from pipeline.measuring.interval import geometric_mean
from pipeline.report.document import Latency

_NS = 1e6  # in a millisecond
_SHARES = {"p50": 0.50, "p90": 0.90, "p99": 0.99}


class DeviceError(RunError):
    """The device's command failed; `transient`: it may go well another time, as a cable may be plugged in."""

    transient = True


def require(command: Sequence[str]) -> None:
    """Check that a command's program is there.

    Raises:
        MissingError: it is not, or cannot be executed.
    """
    if shutil.which(command[0]) is None:
        raise MissingError(
            f"edge.command cannot be run: {command[0]}", expected="a program on the PATH, or the path of one",
            found="none that can be executed", todo="install it, correct its name, or chmod +x",
        )  # fmt: skip


def identity(command: Sequence[str]) -> dict[str, str]:
    """Return what a command is besides its words: the sha256 of its program and of each word that is a file."""
    files = {word: Path(shutil.which(word) or word) if place == 0 else Path(word) for place, word in enumerate(command)}
    return {word: sha256(path) for word, path in files.items() if path.is_file()}


def run_once(command: Sequence[str], model: Path, deadline_s: float) -> np.ndarray:
    """Run the command; returns the latencies it printed, int64 [n >= 1] nanoseconds, sorted.

    Raises:
        DeviceError: it failed, took too long, or printed something else.
    """
    words = [word.replace(MODEL, str(model.resolve())) for word in command]
    try:
        done = call(words, deadline_s)
    except OSError as error:
        raise DeviceError(f"edge.command could not be started: {words[0]}", found=str(error.strerror)) from None
    if done.problem:
        raise DeviceError(
            "edge.command failed", expected="exit code 0", found=f"{done.problem}: {done.last_words()}",
            todo=f"run it by hand: {' '.join(words)}"
            + (f"; edge.deadline_s ({deadline_s:g}) says how long it may take" if done.transient else ""),
        )  # fmt: skip
    return latencies(done.output)


def latencies(output: str) -> np.ndarray:
    """Return what a command printed as latencies, int64 [n >= 1] nanoseconds, sorted.

    Raises:
        DeviceError: a line is no positive number, or there is none.
    """
    found = []
    for number, line in enumerate(output.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            value = float(line)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and value > 0):
            raise _not_understood(f"line {number}: {line.strip()[:200]!r}")
        found.append(value * _NS)
    if not found:
        raise _not_understood("nothing")
    return np.sort(np.maximum(np.round(found), 1).astype(np.int64))


def _not_understood(found: str) -> DeviceError:
    return DeviceError(
        "edge.command printed something else than latencies", found=found,
        expected="one positive number a line on standard output: the milliseconds of one answer",
        todo="print everything else on standard error",
    )  # fmt: skip


def summary(blocks: Sequence[np.ndarray]) -> Latency:
    """Return what the runs of a command say together, as of any runtime: percentiles by block, means over blocks.

    Args:
        blocks: what `run_once` gave, at least 2.
    """
    fewest = min(block.size for block in blocks)
    needed = queries_needed(_SHARES["p50"])
    sure = max((share for share in _SHARES.values() if queries_needed(share) <= fewest), default=_SHARES["p50"])
    few = f"{fewest} answers in a run of edge.command are too few for a median, {needed} are needed"
    problems = [few] if fewest < needed else []
    quantiles = {name: [percentile(block, share) / _NS for block in blocks] for name, share in _SHARES.items()}
    p50, p90, p99 = (geometric_mean(values) for values in quantiles.values())
    rate = geometric_mean([1e9 * block.size / int(block.sum()) for block in blocks])
    return Latency(
        scenario="SingleStream", queries=sum(block.size for block in blocks), valid=not problems, problems=problems,
        settings={"generator": "edge.command", "blocks": len(blocks), "batch": 1, "percentile": sure},
        p50_ms=p50.value, p50_low=p50.low, p50_high=p50.high, p90_ms=p90.value, p90_low=p90.low, p90_high=p90.high,
        p99_ms=p99.value, p99_low=p99.low, p99_high=p99.high,
        throughput_per_s=rate.value, throughput_low=rate.low, throughput_high=rate.high,
        block_p50_ms=quantiles["p50"], histogram=Histogram.of(np.concatenate(blocks)).to_dict(),
    )  # fmt: skip
