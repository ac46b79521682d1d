"""export of a recurrent model whose sequence is too long to be unrolled: what cannot be is said, the rest is made."""

from __future__ import annotations

from pathlib import Path

import models
from pipeline import data
from pipeline.events import Event, Note
from pipeline.formats import keras_file
from pipeline.measuring import anatomy
from pipeline.report.model import write_models
from pipeline.stages import export
from tests.pipeline.stages.small import DATA, by_id, job, warnings


def test_long_loop_is_exported_for_one_sample_at_a_time_and_what_cannot_be_has_its_reason(tmp_path: Path) -> None:
    trained, events = tmp_path / "train", list[Event]()
    trained.mkdir()
    spec = data.load(DATA).spec
    network = models.build(models.rnn.Config(cell="gru", units=(3,)), spec, seed=0)
    keras_file.write(network, spec, trained)
    write_models([anatomy.describe(network, "train")], trained)
    config = export.Config(tflite=("float32", "int8"), onnx=("int8",), unrolled_steps=7)
    result = export.run(job(tmp_path / "e", events, train=trained), data=DATA, export=config)
    found = by_id(tmp_path / "e")
    assert {name: artifact.batch for name, artifact in found.items()} == {
        "train.saved_model.float32": None, "train.tflite.float32": 1, "train.tflite.int8": None,
        "train.onnx.int8": None,
    }  # fmt: skip
    notes = [event.text for event in events if isinstance(event, Note) and event.level != "warning"]
    assert [note for note in notes if note.startswith("train.tflite.float32 takes 1 sample at a time: ")]
    static, onnx = str(found["train.tflite.int8"].error), str(found["train.onnx.int8"].error)
    assert "cannot quantize the loop over time of gru_1" in static
    assert "set export.unrolled_steps to 8" in static
    assert onnx.startswith("train.onnx.int8 is made from train.tflite.int8.tflite, which could not be made")
    assert len(warnings(events)) == 2
    # the converter refused it, and did not die: that would be a failure of the moment
    assert (result.metrics, result.transient) == ({"artifacts": 2, "failed": 2}, ())
