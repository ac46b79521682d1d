"""MobileNetV2, EfficientNetB0 and ResNet50 of both Keras are read, agree, and convert to what answers the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.formats import keras_file, onnx, saved_model, tflite
from pipeline.formats.model_file import importing, load
from pipeline.formats.model_file.keras3 import agreement
from pipeline.formats.model_file.scan import scan
from pipeline.isolate import Child
from pipeline.legacy_keras import load as load_keras
from pipeline.predictor import LOGITS, classifier
from tests.pipeline.formats.model_file.keras3.applications import CLASSES, OPTIONS, SIDE, TRANSFER, build, made

SPEC = classifier("image", (SIDE, SIDE, 3), (0.0, 255.0), tuple("abcdefghij"))
SAMPLES = np.random.default_rng(3).uniform(0, 255, (2, SIDE, SIDE, 3)).astype(np.float32)
pytestmark = pytest.mark.long


def _runtimes(model: Any, folder: Path) -> dict[str, np.ndarray]:
    """Return what each exported file answers to the samples."""
    saved_model.write(model, folder / "saved" / "1", SPEC)
    tflite.write(model, folder / "m.tflite", SPEC, "float32")
    onnx.write(model, folder / "m.onnx", SPEC)
    with Child(deadline_s=300, memory_mb=None) as child:  # TensorFlow's threads can be set once
        return child.call(_answers, folder)


def _answers(folder: Path) -> dict[str, np.ndarray]:
    found = {}
    for name, predictor in (
        ("saved_model", saved_model.load(folder / "saved" / "1", SPEC, 1)),
        ("tflite", tflite.load(folder / "m.tflite", SPEC, 1)),
        ("onnx", onnx.load(folder / "m.onnx", SPEC, 1)),
    ):
        found[name] = predictor.predict(SAMPLES)[LOGITS]
        predictor.close()
    return found


def _require_alike(model: Any, folder: Path) -> None:
    wanted = model(SAMPLES, training=False).numpy()
    assert wanted.shape == (2, CLASSES)
    for runtime, found in _runtimes(model, folder).items():
        assert agreement.difference(found, wanted) <= 1e-4, runtime


@pytest.mark.parametrize("name", OPTIONS)
def test_network_of_keras_3_is_translated_and_exported(name: str, tmp_path: Path) -> None:
    with Child(deadline_s=600, memory_mb=None) as child:
        reference = child.call(made, (name,), tmp_path, SAMPLES)[name]
    (tmp_path / "copy").mkdir()
    scanned = scan(tmp_path / f"{name}.keras", tmp_path / "copy")
    whole = load.whole(scanned)
    found = agreement.require_equal(scanned.path, whole, reference)
    assert found.weights == len(whole.weights)
    model, notes = load.logits(scanned, SPEC)
    assert notes == ("the softmax inside predictions is taken off: its inputs are the logits",)
    powers = np.exp(model(SAMPLES, training=False).numpy().astype(np.float64))
    assert agreement.difference(powers / powers.sum(axis=1, keepdims=True), reference.samples[0]) <= 1e-4
    _require_alike(model, tmp_path)


@pytest.mark.parametrize("name", OPTIONS)
def test_network_of_tf_keras_is_read_and_exported(name: str, tmp_path: Path) -> None:
    build(load_keras(), name).save(tmp_path / f"{name}.keras", save_format="keras")
    (tmp_path / "copy").mkdir()
    model, notes = load.logits(scan(tmp_path / f"{name}.keras", tmp_path / "copy"), SPEC)
    assert notes == ("the softmax inside predictions is taken off: its inputs are the logits",)
    _require_alike(model, tmp_path)


@pytest.mark.parametrize("keras", ["Keras 3", "tf_keras"])
def test_network_inside_of_a_model_is_written_out_and_exported(keras: str, tmp_path: Path) -> None:
    path = tmp_path / f"{TRANSFER}.keras"
    if keras == "Keras 3":
        with Child(deadline_s=600, memory_mb=None) as child:
            child.call(made, (TRANSFER,), tmp_path, SAMPLES)
    else:
        build(load_keras(), TRANSFER).save(path, save_format="keras")
    found = importing.bring_in(path, SPEC, SAMPLES, tmp_path / "entry", "import")
    *_, written = found.notes
    inside = "augmentation (2 layers), mobilenetv2_0.35_96 (153 layers)"
    assert written.endswith(f"layer by layer, with the same weights and answers: {inside}")
    assert found.model.unknown_macs == []
    model, _ = keras_file.read(tmp_path / "entry")
    assert not [layer.name for layer in model.layers if hasattr(layer, "layers")]
    assert {layer.name for layer in model.layers if layer.weights and layer.trainable} == {"predictions"}
    _require_alike(model, tmp_path)
