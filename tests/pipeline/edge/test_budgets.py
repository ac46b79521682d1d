from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.edge import budgets, device
from pipeline.report.document import Artifact, Run
from pipeline.report.edge import Budget, Device, Edge, Micro, Npu, OnCpu
from pipeline.report.gate import Gate

ID = "quantize.tflite.int8.int8-ends.batch1"
FILE = Artifact(id=ID, stage="quantize", format="tflite", precision="int8", variant="int8-ends.batch1")
MICRO = Micro(version="1", arena_bytes=4000, head_bytes=1000, tail_bytes=3000)
NPU = Npu(
    name="ethos-u55-128", accelerator="ethos-u55-128", system_config="s", memory_mode="m", vela="5", operators=9,
    on_npu=9, file_bytes=12_000, sram_bytes=2000, clock_mhz=500, cycles=5000, time_ms=0.01,
)  # fmt: skip


def edge(budget: Budget, **facts: Any) -> Edge:
    found = {"artifact": ID, "profile": "p", "runtime": "tflite-micro", "file_bytes": 9000, "micro": MICRO} | facts
    return Edge(**found, budget=budget)


def one(budget: Budget, artifact: Artifact = FILE, **facts: Any) -> Gate:
    (found,) = budgets.gates(edge(budget, **facts), artifact)
    return found


def test_limits_that_are_not_there_make_no_gate() -> None:
    assert budgets.gates(edge(Budget()), FILE) == []


def test_flash_is_that_of_the_file_that_goes_there() -> None:
    assert one(Budget(flash_bytes=10_000)).value == 9000
    found = one(Budget(flash_bytes=10_000), npus=[NPU])
    assert found.value == 12_000
    assert not found.passed
    assert found.message.startswith("12,000 bytes (the file that Vela compiled for ethos-u55-128; ")
    assert "limit at most 10,000 bytes: missed; try a smaller model" in found.message
    assert "edge.flash_kb" in found.todo


def test_arena_is_measured_and_beside_an_npu_an_estimate_that_says_so() -> None:
    found = one(Budget(arena_bytes=4500))
    assert (found.value, found.passed, found.todo) == (4000, True, "")
    estimated = one(Budget(arena_bytes=4500), npus=[NPU])
    assert (estimated.value, estimated.passed) == (5000, False)
    assert "Vela's estimate for ethos-u55-128, 2,000, and 3,000 that TensorFlow Lite Micro keeps" in estimated.message
    elsewhere = one(Budget(arena_bytes=4500), npus=[NPU.model_copy(update={"dram_bytes": 100})])
    assert elsewhere.value == 5100
    assert "2,000 of SRAM and 100 of DRAM, and" in elsewhere.message
    dedicated = NPU.model_copy(update={"dram_bytes": 100, "memory_mode": "Dedicated_Sram_384KB"})
    assert "100 of DRAM, weights among it, and" in one(Budget(arena_bytes=4500), npus=[dedicated]).message


def test_arena_is_at_least_the_measured_one_where_operators_stay_on_the_cpu() -> None:
    left = NPU.model_copy(update={"on_npu": 0, "sram_bytes": 0, "on_cpu": [OnCpu(kind="SIN", output="x")] * 9})
    found = one(Budget(arena_bytes=3500), npus=[left])
    assert (found.value, found.passed) == (4000, False)
    assert "9 of its 9 operators stay on the CPU beside ethos-u55-128" in found.message


def test_time_on_an_npu_is_an_estimate_that_says_so() -> None:
    found = one(Budget(time_ms=1), npus=[NPU])
    assert (found.value, found.passed) == (0.01, True)
    assert "Vela's estimate for ethos-u55-128 at 500 MHz, 5,000 cycles" in found.message
    assert not one(Budget(time_ms=0.001), npus=[NPU]).passed


def test_time_is_not_measured_where_operators_on_the_cpu_have_none() -> None:
    left = NPU.model_copy(update={"on_npu": 8, "on_cpu": [OnCpu(kind="SIN", output="x")]})
    found = one(Budget(time_ms=1), npus=[left])
    assert (found.value, found.passed, found.word) == (None, False, "not measured")
    assert "1 of the file's 9 operators stay on the CPU (SIN)" in found.message
    assert "edge.command" in found.todo
    # what the NPU's part alone misses is missed
    assert one(Budget(time_ms=0.001), npus=[left]).word == "fail"


@pytest.mark.parametrize(("limit", "passed"), [(3.0, True), (1.5, True), (0.5, False)])
def test_time_on_a_device_fails_only_where_the_whole_interval_misses_it(limit: float, passed: bool) -> None:
    timed = device.summary([np.full(20, 1_000_000), np.full(20, 2_000_000), np.full(20, 2_000_000)])
    run = Run(runtime="device", threads=None, target="remote", metrics={}, parity=None, latency=[timed])
    assert 0.5 < timed.p50_low < 1.5 < timed.p50_ms
    found = one(Budget(time_ms=limit), FILE.model_copy(update={"runs": [run]}), device=Device(command=["x"], runs=3))
    assert found.passed is passed
    assert "median of 60 answers on the device" in found.message


def test_what_failed_is_not_measured_and_says_why() -> None:
    broken = Micro(version="1", error="TFLM has no kernel for SIN\n  expected: another")
    found = one(Budget(arena_bytes=1), micro=broken)
    assert (found.value, found.passed) == (None, False)
    assert found.message == (
        "not measured: TFLM has no kernel for SIN; try what the error of TensorFlow Lite Micro says"
    )
    assert one(Budget(time_ms=1), device=Device(command=["x"], runs=2, error="edge.command failed")).value is None
    assert one(Budget(flash_bytes=1), file_bytes=None, error="the converter died").word == "not measured"


def test_failure_of_what_the_limits_are_not_for_fails_nobody() -> None:
    broken = NPU.model_copy(update={"name": "b", "error": "Vela does not compile it"})
    assert edge(Budget(), npus=[NPU, broken]).failures() == []
    (found,) = edge(Budget(), npus=[broken, NPU]).failures()
    assert found == ("Vela for b", "Vela does not compile it", False)
