"""Small models of a table whose columns have ranges of their own, as .tflite; all of it runs in a child process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pipeline import legacy_keras
from pipeline.compress import fake_quant, splitting
from pipeline.formats import onnx, tflite
from pipeline.predictor import Head, Input, Spec

SPEC = Spec((Input("features", (3,), (0.0, 1000.0)),), (Head("classification", (2,), ("a", "b")),))
# lowest and highest value of each column
RANGES = np.array([[0, 1000], [5, 6], [0, 0.01]])


def samples(count: int, seed: int) -> np.ndarray:
    """Return raw rows, float32 [count, 3]."""
    low, high = RANGES.T
    return (np.random.default_rng(seed).random((count, 3)) * (high - low) + low).astype(np.float32)


def build(kind: str) -> Any:
    """Return a model that starts with a Rescaling or a Normalization and listens to each column alike."""
    keras = legacy_keras.load()
    keras.utils.set_random_seed(3)
    raw = keras.Input((3,), name="features")
    low, high = RANGES.T
    if kind == "Rescaling":
        scale, offset = 1 / (high - low), -low / (high - low)
        x = keras.layers.Rescaling(scale.tolist(), offset=offset.tolist(), name="rescaling")(raw)
    else:
        layer = keras.layers.Normalization(name="normalization")
        layer.adapt(samples(500, 0))
        x = layer(raw)
    # large enough for its weights to be quantized where activations are not
    x = keras.layers.Dense(512, activation="relu", name="dense")(x)
    return keras.Model(raw, keras.layers.Dense(2, name="logits")(x))


def answers(kind: str, folder: Path) -> dict[str, tuple[np.ndarray, str]]:
    """Return for Keras and for each file the logits [64, 2] of samples, and the kind of the first operator."""
    model = build(kind)
    given = samples(64, 1)
    found = {"keras": (model.predict(given, verbose=0), "")}
    for precision in ("dynamic-int8", "weight-int8", "int8"):
        tflite.write(model, folder / f"{precision}.tflite", SPEC, precision, samples(100, 2))  # type: ignore[arg-type]
    halves, _ = splitting.split(model)
    trained = fake_quant.build(halves)
    fake_quant.calibrate(trained, halves, samples(100, 2))
    tflite.write(trained, folder / "trained.tflite", SPEC, "int8", fake_quant=True)
    onnx.write_from_tflite(folder / "int8.tflite", folder / "int8.onnx", SPEC)
    for path in sorted(folder.iterdir()):
        form: Any = onnx if path.suffix == ".onnx" else tflite
        predictor = form.load(path, SPEC, 1)
        one_by_one = np.concatenate([predictor.predict(row[None])["logits"] for row in given[:3]])
        logits = predictor.predict(given)["logits"]
        np.testing.assert_allclose(one_by_one, logits[:3], atol=1e-5)
        found[path.name] = logits, form.operators(path).first
    return found
