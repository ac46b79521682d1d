"""export and measure go on with what an interrupted call has finished."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pipeline.events import Event, Note, Progress
from pipeline.files import hashes, sha256
from pipeline.measuring import by_itself, runtimes
from pipeline.report import document
from pipeline.stages import export
from tests.pipeline.stages import crashing
from tests.pipeline.stages.small import DATA, SMALL, job, measured


def notes(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Note)]


def partial_that_is_interrupted(call: Any, *arguments: Any) -> Any:
    """Return what export calls for an artifact; Ctrl-C comes with the .onnx."""
    if arguments[1].format == "onnx":
        raise KeyboardInterrupt
    return partial(call, *arguments)


def test_interrupted_export_goes_on_with_the_files_that_are_whole_and_ends_with_the_same_bytes(
    trained: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, events = tmp_path / "entry", list[Event]()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(export, "partial", partial_that_is_interrupted)
        export.run(job(folder, events, train=trained), data=DATA, export=SMALL)
    work = tmp_path / "entry-work"
    (work / "train.tflite.float16.tflite").write_bytes(b"damaged")
    folder.rmdir()
    export.run(job(folder, events, train=trained), data=DATA, export=SMALL)
    assert notes(events) == ["goes on: 3 of 5 files were made before it was interrupted"]
    items = [event.item for event in events if isinstance(event, Progress)]
    assert items[5:] == ["train.tflite.float16", "train.onnx.float32"]
    for name, digest in hashes(exported, exported).items():
        if not name.endswith("fingerprint.pb"):  # random at each save
            assert sha256(folder / name) == digest, name
    assert document.read_artifacts(folder) == document.read_artifacts(exported)


def test_interrupted_measure_goes_on_with_the_places_that_were_whole(
    trained: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure_all = by_itself.measure_all

    def interrupted_in_onnx(groups: Any, known: Any) -> None:
        if groups[0].place.name == "onnxruntime":
            raise KeyboardInterrupt
        measure_all(groups, known)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(by_itself, "measure_all", interrupted_in_onnx)
        measured(trained, exported, tmp_path / "m")
    (tmp_path / "m").rmdir()
    before = {path.name: path.read_bytes() for path in (tmp_path / "m-work").iterdir()}
    assert set(before) == {f"{name}{end}" for name in ("tensorflow", "litert") for end in (".npz", ".part.json")}
    with (tmp_path / "m-work/tensorflow.npz").open("ab") as damaged:
        damaged.write(b"!")
    found, result, events = measured(trained, exported, tmp_path / "m")
    assert notes(events) == ["goes on: litert measured before it was interrupted"]
    assert (result.metrics["failed"], result.transient) == (0, ())
    assert all(len(artifact.runs) == 1 and len(artifact.runs[0].latency) == 2 for artifact in found.values())
    steps = [event for event in events if isinstance(event, Progress)]
    assert steps[-1].done == steps[-1].total - 1
    kept = (tmp_path / "m-work/litert.part.json").read_bytes()
    assert kept == before["litert.part.json"]


def test_failures_of_the_moment_are_not_kept_by_an_interrupted_measure(
    trained: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtimes, "answer", crashing.answer_but_be_killed_in_onnx)
    measured(trained, exported, tmp_path / "m")
    assert {path.name for path in (tmp_path / "m-work").glob("*.json")} == {"tensorflow.part.json", "litert.part.json"}
