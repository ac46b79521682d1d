"""Small recurrent models as a user may have them, written and answered for in the child of the tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pipeline import legacy_keras
from pipeline.compress import fake_quant
from pipeline.formats import onnx, recurrent, saved_model, tflite
from pipeline.formats.precisions import Variant
from pipeline.predictor import LOGITS, classifier

STEPS = 4
SPEC = classifier("sequence", (STEPS, 3), (-1.0, 1.0), ("up", "down"))


def samples(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (count, *SPEC.input.shape)).astype(np.float32)


def build(kind: str, steps: int | None = STEPS) -> Any:
    """Return a model around a recurrent layer.

    Args:
        kind: a layer's name, with "Bidirectional-" before it, "-relu" behind it for another function in the cell, or
            "-masked" for masked steps; "nested": two layers in a model inside the model.
        steps: of the input; None: not fixed.
    """
    keras = legacy_keras.load()
    layers = keras.layers
    keras.utils.set_random_seed(0)
    sequence = values = keras.Input((steps, 3), name="sequence")
    name = kind.removeprefix("Bidirectional-")
    name, _, option = name.partition("-")
    if option == "masked":
        values = layers.Masking(mask_value=-5.0, name="masking")(values)
    if name == "nested":
        inner = [keras.Input((steps, 3)), layers.GRU(4, return_sequences=True), layers.RNN(layers.LSTMCell(3))]
        values = keras.Sequential(inner, name="inner")(values)
    else:
        own = {"activation": "relu"} if option == "relu" else {}
        layer = getattr(layers, name)(4, name="recurrent", **own)
        values = layers.Bidirectional(layer, name="both")(values) if kind.startswith("Bi") else layer(values)
    return keras.Model(sequence, layers.Dense(2, name="logits")(values))


def error(predictor: Any, logits: np.ndarray, batch: np.ndarray) -> float:
    """Return the largest difference from Keras' logits, of the first sample alone and of all in one batch."""
    alone, together = (predictor.predict(batch[:count])[LOGITS] for count in (1, len(batch)))
    predictor.close()
    return float(max(np.abs(alone - logits[:1]).max(), np.abs(together - logits).max()))


def tflite_error(
    folder: Path,
    kind: str,
    precision: Any,
    unrolled_steps: int,
    *,
    trained: bool = False,
    steps: int | None = STEPS,
    variant: str = "",
) -> tuple[float, int | None, dict[str, int]]:
    """Write a .tflite; return its largest error, the batch it is for, and what computes in float.

    Args:
        trained: with ranges from quantization-aware training, in int8.
        steps: see `build`.
        variant: of the precision.
    """
    model = build(kind, steps)
    if trained:
        float_model, model = model, fake_quant.build(model)
        fake_quant.calibrate(model, float_model, samples(32, seed=1))
    path = folder / "model.tflite"
    tflite.write(
        model, path, SPEC, precision, samples(32, seed=1), fake_quant=trained, unrolled_steps=unrolled_steps,
        variant=Variant.of(variant),
    )  # fmt: skip
    batch = samples(3, seed=2)
    logits = model(batch, training=False).numpy()
    found = error(tflite.load(path, SPEC, 1), logits, batch)
    return found, tflite.batch(path), dict(tflite.operators(path).floating_names)


def other_errors(folder: Path, kind: str) -> dict[str, float]:
    """Return the largest errors of the SavedModel and of both .onnx, written after an int8 .tflite."""
    model, batch = build(kind), samples(3, seed=2)
    logits = model(batch, training=False).numpy()
    tflite.write(model, folder / "int8.tflite", SPEC, "int8", samples(32, seed=1))
    # what the .tflite needed has left nothing behind
    assert all(not loop.layer.unroll for loop in recurrent.loops(model))
    saved_model.write(model, folder / "saved_model", SPEC)
    onnx.write(model, folder / "float32.onnx", SPEC)
    onnx.write_from_tflite(folder / "int8.tflite", folder / "int8.onnx", SPEC)
    return {
        "saved_model": error(saved_model.load(folder / "saved_model", SPEC, 1), logits, batch),
        "float32.onnx": error(onnx.load(folder / "float32.onnx", SPEC, 1), logits, batch),
        "int8.onnx": error(onnx.load(folder / "int8.onnx", SPEC, 1), logits, batch),
    }


def steps_of(kind: str, steps: int | None = STEPS) -> list[tuple[str, int | None, bool]]:
    """Return name, steps and whether it is one operator, of each loop in a model."""
    return [(loop.name, loop.steps, loop.fused) for loop in recurrent.loops(build(kind, steps))]


def write_onnx_of_single(folder: Path) -> None:
    tflite.write(build("LSTM"), folder / "int8.tflite", SPEC, "int8", samples(32, seed=1), unrolled_steps=0)
    onnx.write_from_tflite(folder / "int8.tflite", folder / "int8.onnx", SPEC)
