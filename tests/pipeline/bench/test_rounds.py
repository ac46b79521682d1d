"""Turns of real runtimes in a real process: models of any origin, and targets that fail without the others."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from pipeline.bench import command, document, results, rounds, servers, words
from pipeline.bench.document import Bench
from pipeline.bench.document import Target as Facts
from pipeline.bench.inside import Subject
from pipeline.bench.rounds import Entry
from pipeline.bench.settings import Settings
from pipeline.bench.targets import Image, Target
from pipeline.errors import InputError, StoppedError
from pipeline.events import Event, Note, Progress
from pipeline.isolate import Child
from pipeline.measuring.source import File
from serving.client.endpoint import Endpoint
from tests.pipeline.bench import models


@pytest.fixture(scope="module")
def child() -> Iterator[Child]:
    with Child(deadline_s=120, memory_mb=None, threads=1) as one:
        yield one


def settings(**changes: Any) -> Settings:
    given: dict[str, Any] = {
        "scenarios": ("single-stream",), "batch": 4, "concurrency": (1,), "threads": 1, "blocks": 5,
        "duration_s": 0.01, "seed": 0,
    }  # fmt: skip
    return Settings(**given | changes)


def measured(
    child: Child, targets: Sequence[Target], wanted: Settings, tmp_path: Path
) -> tuple[Bench, list[Entry], list[Event]]:
    events: list[Event] = []
    with servers.running(targets, wanted, child, tmp_path, events.append) as entries:
        rounds.Rounds(child, entries, wanted, events.append).run()
        return results.document(entries, wanted, targets[0]), entries, events


def file(path: Path, form: str = "onnx") -> Target:
    return Target(path.name, str(path), File(form, path))


def test_strangers_models_of_all_formats_are_measured_in_turns(child: Child, tmp_path: Path) -> None:
    targets = [
        file(models.sum_of_two(tmp_path / "two.onnx")),
        file(models.lite(tmp_path / "int8.tflite", int8=True), "tflite"),
        file(models.saved_model(tmp_path / "saved"), "saved_model"),
    ]
    wanted = settings(scenarios=("single-stream", "multi-stream", "offline"), concurrency=(2,))
    found, _, events = measured(child, targets, wanted, tmp_path)
    assert [target.error for target in found.targets] == [None] * 3
    assert found.titles() == ["SingleStream", "MultiStream, batch 4", "Offline, batch 4, concurrency 2"]
    assert found.targets[0].inputs == ("left float32 [?, 3]", "right int64 [?, 3]")
    assert found.targets[1].inputs == ("x int8 [1, 4]",)
    assert found.targets[2].outputs == ("doubled float32 [?, 4]", "name string [?]")
    for title in found.titles():
        for target, one in found.of(title):
            assert one.queries > 0
            assert one.histogram["counts"]
            assert one.p50_ms is not None
            assert (one.latency_speedup is None) == (target.name == "two.onnx")
    single = found.of("SingleStream")
    assert all(one.queries >= 662 for _, one in single)
    assert single[1][1].latency_speedup is not None
    assert single[1][1].latency_speedup.against == "two.onnx"
    assert single[1][1].latency_speedup.pairs == 5
    assert [target.place for target in found.targets] == [
        "ONNX Runtime, 1 thread", "LiteRT, 1 thread", "TensorFlow, 1 thread"
    ]  # fmt: skip
    items = [event.item for event in events if hasattr(event, "item")]
    assert any("int8.tflite: SingleStream" in item for item in items)


@pytest.mark.parametrize("shape", [[1, 4], [3, 4], []], ids=["one at a time", "three at once", "scalar"])
def test_model_with_a_fixed_batch_is_measured(child: Child, tmp_path: Path, shape: list[int | str]) -> None:
    target = file(models.twice(tmp_path / f"fixed{len(shape)}{shape[:1]}.onnx", shape, TensorProto.FLOAT))
    found, _, _ = measured(child, [target], settings(scenarios=("single-stream", "multi-stream")), tmp_path)
    assert found.targets[0].error is None
    assert [one.queries > 0 for one in found.targets[0].results] == [True, True]


def test_targets_that_fail_have_their_reason_and_the_others_are_measured(child: Child, tmp_path: Path) -> None:
    (tmp_path / "broken.tflite").write_bytes(b"no flatbuffer at all")
    with socket.create_server(("127.0.0.1", 0)) as mute:  # takes connections and never answers
        port = mute.getsockname()[1]
        targets = [
            file(tmp_path / "broken.tflite", "tflite"),
            Target("mute", "mute", Endpoint(f"http://127.0.0.1:{port}", "model", None, None, 1.0)),
            Target("nobody", "nobody", Endpoint("grpc://127.0.0.1:1", "model", None, None, 1.0)),
            file(models.twice(tmp_path / "open.onnx", ["n", "m"])),
            file(models.twice(tmp_path / "good.onnx", ["n", 2])),
        ]
        found, table, events = measured(child, targets, settings(), tmp_path)
    reasons = {target.name: target.error or "" for target in found.targets}
    assert "broken.tflite" in reasons
    assert reasons["broken.tflite"]
    assert "DEADLINE_EXCEEDED" in reasons["mute"]
    assert "does not answer" in reasons["nobody"]
    assert "--shape x=1,..., or --data" in reasons["open.onnx"]
    assert reasons["good.onnx"] == ""
    assert [one.queries > 0 for one in found.targets[4].results] == [True]
    warned = [event.text for event in events if isinstance(event, Note) and event.level == "warning"]
    assert len(warned) == 4
    assert rounds.exit_code(table) == 4


def test_shape_from_outside_makes_an_open_model_measurable(child: Child, tmp_path: Path) -> None:
    target = file(models.twice(tmp_path / "open2.onnx", ["n", "m"]))
    found, table, _ = measured(child, [target], settings(shapes={"x": (1, 6)}), tmp_path)
    assert found.targets[0].error is None
    assert rounds.exit_code(table) == 0


def test_process_that_a_model_kills_is_started_again_for_the_others(
    child: Child, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = file(models.twice(tmp_path / "again.onnx", ["n", 2]))
    table = [_entry("deadly", tmp_path), _entry("again.onnx", tmp_path, good)]
    called = child.call

    def call(function: Any, *args: Any, **kwargs: Any) -> Any:
        deadly = args and isinstance(args[0], Subject) and args[0].name == "deadly"
        return called(_die) if deadly else called(function, *args, **kwargs)

    monkeypatch.setattr(child, "call", call)
    rounds.Rounds(child, table, settings(), lambda _: None).run()
    assert "the measuring process died of it" in rounds.said(table[0].failure)  # type: ignore[arg-type]
    assert table[1].failure is None
    assert table[1].streams[0].latency.queries > 0


def _die() -> None:
    import os
    import signal

    os.kill(os.getpid(), signal.SIGSEGV)


def _entry(name: str, folder: Path, target: Target | None = None) -> Entry:
    target = target or file(folder / "deadly.onnx")
    assert isinstance(target.what, File)
    return Entry(target, Facts(name=name, runtime="onnxruntime", threads=1), Subject(name, target.what, 1, 0))


def test_exit_code_is_that_of_the_first_failure(tmp_path: Path) -> None:
    table = [_entry("a", tmp_path), _entry("b", tmp_path)]
    assert rounds.exit_code(table) == 0
    table[1].failure = InputError("wrong")
    assert rounds.exit_code(table) == 2


def test_ratios_are_to_the_target_that_was_named_when_another_name_begins_with_it() -> None:
    other, named = (Target(name, name, Image(name, None, None, None)) for name in ("docker:app:v2", "docker:app"))
    entries = [
        Entry(target, Facts(name=f"{target.name} ({protocol})", runtime="served", protocol=protocol))
        for target in (other, named)
        for protocol in ("grpc", "rest")
    ]
    assert results.document(entries, settings(), named).against == "docker:app (grpc)"
    assert command._reference("docker:app", (other, named)) is named


def test_server_scenario_searches_the_highest_rate_a_round_each(child: Child, tmp_path: Path) -> None:
    targets = [file(models.twice(tmp_path / f"{name}.onnx", ["n", 2])) for name in ("s1", "s2")]
    wanted = settings(scenarios=("server",), bound_ms=20.0, duration_s=0.05)
    found, _, _ = measured(child, targets, wanted, tmp_path)
    for target in found.targets:
        (one,) = target.results
        assert one.scenario == "Server"
        assert one.bound_ms == 20.0
        rounds_of = [[trial for trial in one.trials if trial.round == number] for number in (1, 2, 3)]
        highest = [max((trial.rate_per_s for trial in trials if trial.valid), default=0.0) for trials in rounds_of]
        missed = [[trial.rate_per_s for trial in trials if not trial.valid] for trials in rounds_of]
        assert all(trials for trials in rounds_of)
        if all(highest):
            assert one.max_rate_per_s is not None
            assert one.max_rate_per_s.value == pytest.approx(float(np.prod(highest)) ** (1 / 3))
            assert one.max_rate_per_s.low < one.max_rate_per_s.value < one.max_rate_per_s.high
            if all(missed):
                for met, rates in zip(highest, missed, strict=True):
                    assert min(rate for rate in rates if rate > met) <= 1.05 * met
        else:  # on a machine too busy for the bound
            assert one.max_rate_per_s is None
            assert not one.valid
    first, second = (target.results[0] for target in found.targets)
    if first.max_rate_per_s and second.max_rate_per_s:
        ratio = second.max_rate_ratio
        assert ratio is not None
        assert ratio.value == pytest.approx(second.max_rate_per_s.value / first.max_rate_per_s.value)
        assert (ratio.pairs, ratio.valid) == (3, first.valid and second.valid)
        assert (second.latency_speedup, second.throughput_ratio) == (None, None)  # each at a rate of its own


def test_server_scenario_at_a_fixed_rate_counts_what_was_late(child: Child, tmp_path: Path) -> None:
    target = file(models.twice(tmp_path / "s3.onnx", ["n", 2]))
    wanted = settings(scenarios=("server",), rate_per_s=2000.0, bound_ms=0.0001)
    found, _, _ = measured(child, [target], wanted, tmp_path)
    (one,) = found.targets[0].results
    assert one.rate_per_s == 2000.0
    assert one.late > 0
    assert not one.valid
    assert found.invalid()[0].startswith("s3.onnx, Server, concurrency 1: INVALID: ")


def test_server_scenario_at_a_fixed_rate_needs_no_bound(child: Child, tmp_path: Path) -> None:
    target = file(models.twice(tmp_path / "s4.onnx", ["n", 2]))
    found, _, _ = measured(child, [target], settings(scenarios=("server",), rate_per_s=3000.0), tmp_path)
    assert found.targets[0].error is None
    (one,) = found.targets[0].results
    assert (one.rate_per_s, one.bound_ms, one.late) == (3000.0, None, 0)
    assert one.queries >= 5 * 662
    assert one.p99_ms is not None
    assert "late" not in [column.title for column in words.columns([(found.targets[0], one)], "s4.onnx")]


def test_search_tells_each_trial_while_it_goes(child: Child, tmp_path: Path) -> None:
    target = file(models.twice(tmp_path / "s5.onnx", ["n", 2]))
    wanted = settings(scenarios=("server",), bound_ms=20.0, duration_s=0.05)
    found, _, events = measured(child, [target], wanted, tmp_path)
    told = [event.item for event in events if isinstance(event, Progress) and "highest rate" in event.item]
    tried = [item for item in told if "tries " in item]
    assert len(tried) == len(found.targets[0].results[0].trials)
    assert re.fullmatch(
        r"s5.onnx: highest rate, concurrency 1, search 1/3: \S+/s (met|missed) it, p99 \S+ ms; tries \S+/s", tried[1]
    )


def test_search_without_a_rate_has_one_reason_one_remedy_and_no_figures(child: Child, tmp_path: Path) -> None:
    target = file(models.twice(tmp_path / "s6.onnx", ["n", 2]))
    wanted = settings(scenarios=("server",), bound_ms=0.0001, duration_s=0.05)
    found, _, _ = measured(child, [target], wanted, tmp_path)
    (one,) = found.targets[0].results
    assert not one.valid
    assert (one.max_rate_per_s, one.p50_ms, one.throughput_per_s, one.queries) == (None, None, None, 0)
    assert one.trials
    (problem,), (advice,) = one.problems, one.advice
    assert problem.startswith("3 of 3 searches: not even ")
    assert advice.startswith("a bound above ")


def test_refused_connection_is_told_before_a_process_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    for scheme in ("grpc", "http"):
        target = Target("nobody", "nobody", Endpoint(f"{scheme}://127.0.0.1:{port}", "model", None, None, 30.0))
        with Child(deadline_s=60, memory_mb=None, threads=1) as fresh:
            found, _, events = measured(fresh, [target], settings(), tmp_path)
            assert fresh.pid is None
        assert "UNAVAILABLE: Connection refused" in (found.targets[0].error or "")
        (note,) = [event.text for event in events if isinstance(event, Note)]
        assert note == f"nobody: {scheme}://127.0.0.1:{port} does not answer: it is measured no further"
        told = [(event.done, event.total, event.item) for event in events if isinstance(event, Progress)]
        assert told == [(0, 6, "nobody: loads")]  # nothing is told of it once it has failed


def test_what_was_measured_is_written_when_a_bench_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = file(models.twice(tmp_path / "s7.onnx", ["n", 2]))
    wanted, out = settings(scenarios=("single-stream", "offline")), tmp_path / "out"

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(rounds.Rounds, "_loads", stop)
    with pytest.raises(StoppedError, match=r"bench\.html and bench\.json have what was measured by then"):
        command._measured([target], wanted, target, out, "quiet")
    found = document.read(out)
    assert found.stopped
    assert found.titles() == ["SingleStream"]
    assert words.remarks(found)[0].startswith("STOPPED before its end")
    monkeypatch.setattr(rounds.Rounds, "_streams", stop)
    with pytest.raises(StoppedError, match="before there was a result"):
        command._measured([target], wanted, target, out, "quiet")
    assert not (out / "bench.json").exists()
