"""How a file starts, in processes that have loaded nothing before."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pipeline import data
from pipeline.attempt import Attempts
from pipeline.errors import RunError
from pipeline.events import Event, Note
from pipeline.isolate import Child, CrashError
from pipeline.measuring import by_itself, startup
from pipeline.measuring.facts import Facts, Group
from pipeline.measuring.latency_config import LatencyConfig
from pipeline.measuring.places import Local
from pipeline.report import document
from pipeline.report.startup import Startup

SPLITS = data.load(data.DataConfig())
SIDE = 1024  # of a square of float32: 4 MiB


@pytest.fixture(scope="module")
def fresh() -> Iterator[Child]:
    with Child(deadline_s=120, memory_mb=None, threads=1) as child:
        yield child


def dense(folder: Path, layers: int) -> Path:
    """Write an .onnx of layers with 4 MiB of weights each."""
    weights = [
        numpy_helper.from_array(np.full((SIDE, SIDE), i + 1, np.float32), f"w{i}") for i in range(layers)
    ]  # fmt: skip
    names = ["x", *(f"y{i}" for i in range(layers))]
    nodes = [helper.make_node("MatMul", [names[i], f"w{i}"], [names[i + 1]]) for i in range(layers)]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", SIDE]) for name in (names[0], names[-1])]
    graph = helper.make_graph(nodes, "dense", [ends[0]], [ends[1]], weights)
    path = folder / f"{layers}.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), str(path))
    return path


def opening(path: Path, batch: int = 1) -> startup.Opening:
    return startup.Opening("onnx", path, 1, {"x": np.ones((batch, SIDE), np.float32)})


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak of a process that runs")
def test_memory_of_a_start_grows_with_the_weights_and_is_that_of_the_file_alone(fresh: Child, tmp_path: Path) -> None:
    small, large = (Startup.model_validate(startup.start(opening(dense(tmp_path, layers)), fresh)) for layers in (1, 5))
    assert small.memory_mib is not None
    assert large.memory_mib is not None
    assert small.memory_mib > 4
    assert large.memory_mib - small.memory_mib >= 15.5  # 16 MiB more of weights, which nothing but them can explain
    assert large.memory_mib < 4 * 20 + 8
    again = Startup.model_validate(startup.start(opening(tmp_path / "1.onnx"), fresh))
    assert again.memory_mib == pytest.approx(small.memory_mib, abs=1)  # what came between has left nothing


def test_start_answers_as_many_samples_as_it_is_given(fresh: Child, tmp_path: Path) -> None:
    found = Startup.model_validate(startup.start(opening(dense(tmp_path, 1), batch=3), fresh))
    assert (found.batch, found.repeats, len(found.firsts_ms)) == (3, startup.REPEATS, startup.REPEATS)
    assert found.load_ms in found.loads_ms


def test_each_start_has_a_process_of_its_own_where_nothing_is_forked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(startup, "FORKS", False)
    monkeypatch.setattr(startup, "REPEATS", 2)
    monkeypatch.setattr(startup, "_forked", pytest.fail)
    used: list[int | None] = []
    with Child(deadline_s=120, memory_mb=None, threads=1) as child:
        call = child.call
        monkeypatch.setattr(child, "call", lambda *given: (call(*given), used.append(child.pid))[0])
        found = Startup.model_validate(startup.start(opening(dense(tmp_path, 1)), child))
    assert (found.repeats, len(found.loads_ms), len(set(used))) == (2, 2, 2)
    assert found.load_ms > 0 < found.first_ms


@pytest.mark.parametrize("transient", [True, False])
def test_start_that_fails_is_no_failure_of_a_file_that_answers(
    transient: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: object) -> None:
        raise CrashError("killed by SIGABRT", transient)

    monkeypatch.setattr(startup, "start", dies)
    monkeypatch.setattr(by_itself, "measure_all", lambda *_: None)
    events: list[Event] = []
    facts = Facts(Attempts("measure", "runtime", events.append), SPLITS, 8, LatencyConfig(), steps=1)
    item = document.Artifact(id="a", stage="train", format="onnx", precision="float32")
    unused: Any = None
    place = Local(unused, "onnx", {"a": Path("a.onnx")}, 1)
    by_itself.measure_local(Group(place, ("a",), None), [item], facts, unused)
    assert (facts.attempts.errors, facts.starts) == ({}, {})
    assert facts.unstarted == {("a", ""): "killed by SIGABRT"}
    told = "the start of a cannot be measured, though it answers: killed by SIGABRT"
    assert events[-1] == Note("measure", told, "warning")
    assert facts.attempts.transient == (["start of a: killed by SIGABRT"] if transient else [])  # measured again


def test_file_that_cannot_be_started_is_named(fresh: Child, tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a model")
    with pytest.raises(RunError, match=r"broken\.onnx does not start") as caught:
        startup.start(opening(broken), fresh)
    assert "see the log for its traceback" in str(caught.value)


def test_fork_that_crashes_is_told_by_its_signal() -> None:
    def crash() -> dict[str, object]:
        os.kill(os.getpid(), signal.SIGTRAP)
        return {}

    with pytest.raises(CrashError, match="SIGTRAP") as caught:
        startup._forked(crash, "a.tflite")
    assert not caught.value.transient


def test_values_become_the_integers_of_an_input_that_has_a_scale() -> None:
    detail = {"dtype": np.int8, "quantization": (0.5, -3)}
    values = np.array([[-100.0, 0.0, 1.0, 100.0]], np.float32)
    assert startup._as_taken(values, detail).tolist() == [[-128, -3, -1, 127]]
    assert startup._as_taken(values, {"dtype": np.float32, "quantization": (0.0, 0)}).dtype == np.float32
    ids = np.array([[7]], np.int32)
    assert startup._as_taken(ids, {"dtype": np.int32, "quantization": (0.0, 0)}).tolist() == [[7]]
