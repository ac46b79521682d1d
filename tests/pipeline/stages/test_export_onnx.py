"""The variants of an .onnx on their way through export: what is made of what, what lies beside, what is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.events import Event, Note
from pipeline.formats import onnx
from pipeline.stages import export
from tests.pipeline.stages import crashing
from tests.pipeline.stages.small import DATA, by_id, job

FLOAT, HALF, ORT = (f"train.onnx.{entry}" for entry in ("float32", "float16", "int8.ort"))


def test_weights_beside_an_onnx_are_part_of_its_artifact(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "convert", crashing.convert_as_if_messages_were_short)
    events: list[Event] = []
    asked = export.Config(tflite=(), onnx=("float16", "int8.ort", "float32"), warmup=None)
    folder = tmp_path / "export"
    export.run(job(folder, events, train=trained), data=DATA, export=asked)
    found = by_id(folder)
    assert [found[name].error for name in (FLOAT, HALF, ORT)] == [None] * 3
    data = f"{FLOAT}.onnx.data"
    assert found[FLOAT].beside == [data]
    assert found[FLOAT].bytes == sum((folder / name).stat().st_size for name in (f"{FLOAT}.onnx", data))
    assert onnx.kernels(folder / f"{FLOAT}.onnx").keys()
    # each is made of a float32 file: of its own, for it did not lie there yet
    why = "its weights are too large for one message, which onnxslim needs"
    said = [event.text for event in events if isinstance(event, Note)]
    assert said == [f"{name} is not simplified: {why}" for name in (HALF, ORT, FLOAT)]
    assert {name: found[name].unsimplified for name in (FLOAT, HALF, ORT)} == dict.fromkeys((FLOAT, HALF, ORT), why)
    assert found[ORT].variant == "ort"
    assert found[ORT].operators is not None
    assert found[ORT].operators.integer > 0


def test_nothing_of_an_onnx_is_left_when_it_fails_after_its_weights_were_written(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "convert", crashing.convert_but_break_a_promise_of_onnx)
    asked = export.Config(tflite=(), onnx=("float32",), warmup=None)
    todo = job(tmp_path / "export", [], train=trained)
    export.run(todo, data=DATA, export=asked)
    assert "lost its zeros" in str(by_id(tmp_path / "export")[FLOAT].error)
    assert [path.name for path in todo.work.iterdir() if "onnx" in path.name] == []
