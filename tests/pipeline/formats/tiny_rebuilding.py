"""A model that gives its input back, as a .tflite of each precision; runs in the child."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.formats import tflite
from pipeline.legacy_keras import load as load_keras
from pipeline.predictor import Head, Input, Spec

SPEC = Spec((Input("features", (6,), (0.0, 1.0)),), (Head("reconstruction", (6,)),))


def scores(folder: Path, precision: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the score of each of 16 samples, as a file of that precision has it and as it should be."""
    keras = load_keras()
    given = keras.Input((6,), name="features")
    hidden = keras.layers.Dense(4, activation="relu", name="code")(given)
    model = keras.Model(given, keras.layers.Dense(6, name=SPEC.head.end)(hidden))
    samples = np.random.default_rng(0).random((16, 6), np.float32)
    path = folder / f"{precision}.tflite"
    tflite.write(model, path, SPEC, precision, samples)  # type: ignore[arg-type]
    found = tflite.load(path, SPEC, 1).predict(samples)
    wanted = np.square(model.predict(samples, verbose=0) - samples).mean(axis=1)
    return found["score"], wanted
