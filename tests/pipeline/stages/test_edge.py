"""A small model in the real runtimes: TensorFlow Lite Micro, Vela, and a command that is LiteRT on this machine."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.edge import budgets, vela
from pipeline.edge.config import Config
from pipeline.edge.npu import Npu
from pipeline.errors import MissingError, RunError
from pipeline.events import Event, Note, Progress
from pipeline.report import document
from pipeline.report import edge as report
from pipeline.report.edge import Budget
from pipeline.stage import Result
from pipeline.stages import edge, export, judge
from tests.pipeline.stages.small import DATA, MEASURE, by_id, job, measured

ID = "train.tflite.int8.int8-ends.batch1"
ON_THIS_MACHINE = """
import sys, time
from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter(model_path=sys.argv[1])
interpreter.allocate_tensors()
for _ in range(70):
    start = time.perf_counter()
    interpreter.invoke()
    print(1000 * (time.perf_counter() - start))
"""
Try = Callable[..., tuple[Path, Result]]


@pytest.fixture(scope="module")
def files(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """What export and measure have made of it."""
    folder = tmp_path_factory.mktemp("edge")
    wanted = export.Config(saved_model=("float32",), tflite=("float32", "int8", "int8.int8-ends.batch1"), onnx=())
    export.run(job(folder / "export", [], train=trained), data=DATA, export=wanted)
    measured(trained, folder / "export", folder / "measure")
    return folder / "export", folder / "measure"


@pytest.fixture(scope="module")
def attempt(files: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Try:
    def run(config: Config, events: list[Event] | None = None) -> tuple[Path, Result]:
        events = [] if events is None else events
        folder = tmp_path_factory.mktemp("tried") / "edge"
        edge.surroundings(events.append, edge=config)
        todo = job(folder, events, export=files[0], measure=files[1])
        return folder, edge.run(todo, data=DATA, edge=config, measure=MEASURE)

    return run


@pytest.fixture(scope="module")
def tried(attempt: Try, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    script = tmp_path_factory.mktemp("device") / "device.py"
    script.write_text(ON_THIS_MACHINE)
    command = (sys.executable, str(script), "{model}")
    return attempt(Config(profile="cortex-m55-ethos-u55-128", command=command, command_runs=2))


def run_in(runtime: str, folder: Path) -> document.Run:
    return next(run for run in by_id(folder)[ID].runs if run.runtime == runtime)


def test_file_answers_in_tflite_micro_as_in_litert_over_the_whole_test_split(tried: tuple[Path, Result]) -> None:
    folder, result = tried
    found = report.read(folder).micro
    assert found is not None
    assert found.error is None
    logits = {one.kernels: one for one in found.parity if one.output == "logits"}
    run = run_in("tflite-micro", folder)
    assert run.parity is not None
    assert logits["reference"].samples == run.parity.samples == 359
    assert logits["reference"].equal_share > 0.99
    assert logits["default"].max_steps is not None
    assert logits["default"].max_steps <= 2
    assert run.parity.top1_agreement is not None
    assert run.parity.top1_agreement > 0.97
    assert run.latency == []
    assert run.metrics["accuracy"].value == pytest.approx(run_in("litert", folder).metrics["accuracy"].value, abs=0.02)
    assert "accuracy_drop" in run.metrics
    assert found.arena_bytes is not None
    assert found.tail_bytes is not None
    assert 0 < found.tail_bytes < found.arena_bytes == result.metrics["arena_bytes"]
    assert {"FULLY_CONNECTED", "SOFTMAX"} <= {one.kind for one in found.operators}


def test_c_source_is_of_the_file_that_the_limits_are_for(tried: tuple[Path, Result]) -> None:
    folder, _ = tried
    found = report.read(folder)
    assert found.source is not None
    assert found.micro is not None
    assert found.micro.arena_bytes is not None
    assert found.micro.tail_bytes is not None
    compiled = folder / "edge" / "ethos-u55-128_vela.tflite"
    assert (found.source.of, found.source.npu) == (compiled.name, "ethos-u55-128")
    assert found.arena_bytes == found.npus[0].sram_bytes + found.micro.tail_bytes
    assert 0 <= found.source.arena_bytes - found.arena_bytes < 16
    made = {name: (folder / "edge" / name).read_text() for name in found.source.files}
    assert f"{compiled.name} for a microcontroller" in made["model.h"]
    assert f"#define MODEL_ARENA_BYTES {found.source.arena_bytes}\n" in made["model.h"]
    assert f"#define MODEL_MODEL_BYTES {compiled.stat().st_size}\n" in made["model.h"]
    assert "resolver.AddEthosU()" in made["model_operators.h"]


def test_c_source_is_of_the_file_itself_when_there_is_no_npu(attempt: Try) -> None:
    events: list[Event] = []
    folder, result = attempt(Config(profile="esp32-s3"), events)
    found = report.read(folder)
    assert found.source is not None
    assert (found.source.of, found.source.npu) == (f"{ID}.tflite", None)
    assert found.micro is not None
    assert found.source.arena_bytes == found.micro.arena_bytes
    assert result.transient == ()  # nobody's device was asked
    told = [event.item for event in events if isinstance(event, Progress)]
    assert told == ["TensorFlow Lite Micro", "LiteRT, default kernels", "LiteRT, reference kernels"]
    assert [event.text for event in events if isinstance(event, Note)] == [
        "the 100 ms that esp32-s3 has for an answer are not judged, because nothing tells how long one takes there: "
        "edge.command times it, edge.npu has Vela estimate it"
    ]  # fmt: skip


def test_npu_runs_all_operators_of_a_file_with_integer_ends(tried: tuple[Path, Result]) -> None:
    folder, result = tried
    (found,) = report.read(folder).npus
    assert found.on_cpu == []
    assert found.on_npu == found.operators == result.metrics["on_npu"] > 0
    assert (found.accelerator, found.system_config, found.memory_mode) == (
        "ethos-u55-128", "Ethos_U55_High_End_Embedded", "Shared_Sram",
    )  # fmt: skip
    assert found.cycles > 0
    assert found.time_ms == pytest.approx(found.cycles / found.clock_mhz / 1000, rel=0.01)
    assert found.file is not None
    assert (folder / "edge" / found.file).stat().st_size == found.file_bytes


def test_device_is_timed_by_the_users_command_and_reported_like_a_runtime(tried: tuple[Path, Result]) -> None:
    folder, _ = tried
    run = run_in("device", folder)
    timed = run.single_stream()
    assert timed is not None
    assert timed.queries == 140
    assert timed.valid
    assert 0 < timed.p50_low <= timed.p50_ms <= timed.p50_high
    assert timed.p50_ms <= timed.p90_ms <= timed.p99_ms
    assert run.parity is None
    assert by_id(folder)[ID].error is None


def test_other_files_stay_as_they_were_measured(tried: tuple[Path, Result], files: tuple[Path, Path]) -> None:
    before, after = by_id(files[1]), by_id(tried[0])
    assert {name for name in before if before[name] != after[name]} == {ID}


def test_limits_that_are_missed_say_what_was_found_and_what_to_do(tried: tuple[Path, Result]) -> None:
    folder, _ = tried
    found = report.read(folder).model_copy(update={"budget": Budget(flash_bytes=100, arena_bytes=100, time_ms=1e-9)})
    gates = budgets.gates(found, by_id(folder)[ID])
    assert [gate.name for gate in gates] == ["max_flash_bytes", "max_arena_bytes", "max_edge_time_ms"]
    assert not any(gate.passed for gate in gates)
    assert all(gate.todo and gate.value for gate in gates)


@pytest.mark.parametrize(
    ("name", "kinds", "reason"),
    [
        ("train.tflite.int8", ["QUANTIZE", "DEQUANTIZE", "DEQUANTIZE"], "Float32"),
        ("train.tflite.float32", [], "Operation has tensor with unsupported DataType Float32"),
    ],
)
def test_operators_that_stay_on_the_cpu_are_the_files_own_with_velas_reasons(
    name: str, kinds: list[str], reason: str, files: tuple[Path, Path], tmp_path: Path
) -> None:
    file = files[0] / f"{name}.tflite"
    found = vela.compile_for(Npu(accelerator="ethos-u55-128"), file, tmp_path / "vela.tflite", 120)
    left = [one.operator.kind for one in found.placement.cpu]
    if kinds:
        assert sorted(left) == sorted(kinds)
        assert found.placement.npu
    else:
        assert found.placement.npu == ()
    assert any(reason in text for one in found.placement.cpu for text in one.reasons)
    assert all(one.reasons for one in found.placement.cpu)


def test_file_that_vela_dies_of_is_one_failure_with_its_words(tmp_path: Path, files: tuple[Path, Path]) -> None:
    broken = tmp_path / "broken.tflite"
    broken.write_bytes((files[0] / f"{ID}.tflite").read_bytes()[:200])
    with pytest.raises(RunError, match=r"Vela does not compile broken.tflite for ethos-u55-128"):
        vela.compile_for(Npu(accelerator="ethos-u55-128"), broken, tmp_path / "vela.tflite", 120)


def test_command_that_fails_is_the_devices_error_of_the_moment_and_not_the_files(attempt: Try, tmp_path: Path) -> None:
    script = tmp_path / "device.sh"
    script.write_text("#!/bin/sh\necho device offline >&2\nexit 1\n")
    script.chmod(0o755)
    folder, result = attempt(Config(profile="raspberry-pi-4", command=(str(script), "{model}")))
    assert by_id(folder)["train.tflite.int8"].error is None
    assert result.transient
    found = report.read(folder)
    assert found.micro is None
    assert found.npus == []
    assert found.device is not None
    assert found.device.transient
    assert found.device.error is not None
    assert "it ended with exit code 1: device offline" in found.device.error
    assert [(one.what, one.transient) for one in found.failures()] == [("edge.command", True)]
    assert judge.verdict([], [], found.failures()) == "error"


def test_what_a_device_said_holds_for_one_run_alone(tried: tuple[Path, Result]) -> None:
    assert "another device, or another program on it" in " ".join(tried[1].transient)


def test_other_program_for_the_device_is_another_result(tmp_path: Path) -> None:
    script = tmp_path / "device.sh"
    script.write_text("#!/bin/sh\necho 1\n")
    script.chmod(0o755)
    config = Config(profile="raspberry-pi-4", command=("sh", str(script), "{model}"))

    def decisive() -> dict[str, Any]:
        return dict(edge.surroundings(lambda _: None, edge=config).decisive)

    before = decisive()
    assert before == decisive()
    assert set(before["command"]) == {"sh", str(script)}
    script.write_text("#!/bin/sh\necho 2\n")
    assert before != decisive()


def test_extra_that_is_not_installed_is_told_before_anything_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ethosu" else real(name))
    with pytest.raises(MissingError, match=r"pip install 'modelmill\[npu\]'"):
        edge.surroundings(lambda _: None, edge=Config(profile="cortex-m55-ethos-u55-128"))
    edge.surroundings(lambda _: None, edge=Config(profile="esp32-s3"))
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(MissingError, match=r"edge.command cannot be run: adb"):
        edge.surroundings(lambda _: None, edge=Config(profile="esp32-s3", command=("adb", "{model}")))
