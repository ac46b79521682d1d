"""What export says of kernels that are not what was asked for."""

from __future__ import annotations

from pathlib import Path

import models
from pipeline import data
from pipeline.events import Event, Note
from pipeline.formats import keras_file
from pipeline.measuring import anatomy
from pipeline.report.model import write_models
from pipeline.stages import export
from tests.pipeline.stages.small import DATA, by_id, job


def test_kernels_that_stay_float_are_said_and_an_unknown_layer_fails_its_file_alone(tmp_path: Path) -> None:
    trained, folder = tmp_path / "train", tmp_path / "export"
    trained.mkdir()
    spec = data.load(DATA).spec
    network = models.build(models.ds_cnn.Config(architecture="ds_cnn", filters=8, blocks=1), spec, seed=0)
    keras_file.write(network, spec, trained)
    write_models([anatomy.describe(network, "train")], trained)
    events: list[Event] = []
    asked = export.Config(
        tflite=("weight-int8", "weight-int4", "mixed"), onnx=(), mixed={"nosuch*": "weight-int8"}, warmup=None
    )
    result = export.run(job(folder, events, train=trained), data=DATA, export=asked)
    found = by_id(folder)
    depthwise = next(layer.name for layer in network.layers if type(layer).__name__ == "DepthwiseConv2D")
    kept = [f"{depthwise} (DEPTHWISE_CONV_2D)"]
    assert {name: one.float_kernels for name, one in found.items() if not one.error} == {
        "train.saved_model.float32": [], "train.tflite.weight-int8": [], "train.tflite.weight-int4": kept
    }  # fmt: skip
    said = [event.text for event in events if isinstance(event, Note)]
    assert said[0] == f"train.tflite.weight-int4 keeps float32 kernels, which cannot be weight-int4: {kept[0]}"
    assert "export.mixed names what is no layer with a kernel" in str(found["train.tflite.mixed"].error)
    assert result.metrics == {"artifacts": 3, "failed": 1}
