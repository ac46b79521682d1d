"""Arm's compiler for Ethos-U NPUs, in a process of its own: what it makes of a .tflite, and what it estimates."""

from __future__ import annotations

import csv
import importlib.util
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pipeline.edge.npu import Npu
from pipeline.edge.placement import Placement, placement
from pipeline.edge.process import call
from pipeline.errors import MissingError, RunError

_KIB = 1024
# its configurations, as named relative to those that come with it
_CONFIG = "Arm/vela.ini"


@dataclass(frozen=True)
class Compiled:
    """What Vela says of a file for one NPU. Cycles and time are estimates, of the NPU's part alone.

    Attributes:
        placement: where the file's operators run.
        file_bytes: of the compiled file, which goes into flash.
        sram_bytes, dram_bytes: of activations, and of what else the memory mode puts there.
        flash_bytes: of weights and commands that are read from flash while it computes.
        clock_mhz: of the NPU, in its system configuration.
        cycles: for one answer.
        time_ms: for one answer.
        macs: for one answer.
    """

    placement: Placement
    file_bytes: int
    sram_bytes: int
    dram_bytes: int
    flash_bytes: int
    clock_mhz: float
    cycles: int
    time_ms: float
    macs: int


class EndedError(RunError):
    """Vela was ended from outside, or at the deadline: it may go well another time."""

    transient = True


def require() -> None:
    """Check that Vela is there, without importing it.

    Raises:
        MissingError: the extra `npu` is not installed.
    """
    if importlib.util.find_spec("ethosu") is None:
        raise MissingError(
            "edge.npu needs Vela, Arm's compiler for Ethos-U", expected="the package ethos-u-vela",
            found="no such package in this Python environment",
            todo="pip install 'modelmill[npu]', or do without an NPU: --set edge.npu=[]",
        )  # fmt: skip


def compile_for(npu: Npu, file: Path, target: Path, deadline_s: float) -> Compiled:
    """Compile a .tflite for an NPU.

    Args:
        file: to compile; Vela takes a dynamic batch as one of 1.
        target: where the compiled file goes.
        deadline_s: that it may take.

    Raises:
        MissingError: the extra `npu` is not installed.
        RunError: Vela did not do it; with what it said.
        EndedError: it came to no end of its own.
    """
    require()
    with tempfile.TemporaryDirectory(prefix="modelmill-vela-") as name:
        folder = Path(name)
        given = folder / "model.tflite"  # its name is part of other names, and may have several dots
        shutil.copyfile(file, given)
        command = [
            sys.executable, "-m", "ethosu.vela", str(given), "--output-dir", str(folder), "--config", _CONFIG,
            "--accelerator-config", npu.accelerator, "--system-config", npu.system, "--memory-mode", npu.memory,
        ]  # fmt: skip
        done = call(command, deadline_s, folder)
        made = folder / "model_vela.tflite"
        summary = next(iter(folder.glob("model_summary_*.csv")), None)
        if done.transient:
            raise EndedError(
                f"Vela does not come to an end with {file.name} for {npu.name}", found=done.problem,
                todo=f"run the same command again; edge.deadline_s ({deadline_s:g}) says how long it may take",
            )  # fmt: skip
        if done.problem or not made.exists() or summary is None:
            raise RunError(
                f"Vela does not compile {file.name} for {npu.name}",
                found=f"{done.problem or 'no compiled file'}: {done.last_words()}",
                todo="look at the operators of the file, or leave this configuration out of edge.npu",
            )  # fmt: skip
        shutil.copyfile(made, target)
        row = next(csv.DictReader(summary.read_text(encoding="utf-8").splitlines()))
    return Compiled(
        placement=placement(file, target, done.output), file_bytes=target.stat().st_size,
        sram_bytes=_bytes(row["sram_memory_used"]), dram_bytes=_bytes(row["dram_memory_used"]),
        flash_bytes=_bytes(row["on_chip_flash_memory_used"]) + _bytes(row["off_chip_flash_memory_used"]),
        clock_mhz=float(row["core_clock"]) / 1e6, cycles=round(float(row["cycles_total"])),
        time_ms=1000 * float(row["inference_time"]), macs=round(float(row["nn_macs"])),
    )  # fmt: skip


def _bytes(kibibytes: str) -> int:
    return round(float(kibibytes) * _KIB)
