"""A tiny model of texts in every format; all functions here run in a child process, for TensorFlow's sake."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import legacy_keras
from pipeline.formats import onnx, saved_model, tflite
from pipeline.predictor import Head, Input, Spec
from pipeline.vectorizer import Vectorizer, learned
from tests import texts

SAMPLES = np.array([*texts.pieces()[0][:24], "", "Ünïcödé, words!", "the " * 40], dtype=object)


def spec_of(vectorizer: Vectorizer) -> Spec:
    one = Input("text", (vectorizer.length,), (0.0, vectorizer.size - 1.0), vectorizer)
    return Spec((one,), (Head("classification", (3,), ("a", "b", "c")),))


SPEC = spec_of(learned(texts.pieces()[0], texts.VOCABULARY, texts.WORDS))
# the same number of other words
OTHER = spec_of(Vectorizer(tuple(reversed(SPEC.input.vectorizer.words)), texts.WORDS))  # type: ignore[union-attr]


def numbers(spec: Spec) -> Spec:
    """Return a spec of as many numbers as the text has token ids."""
    return Spec((dataclasses.replace(spec.input, vectorizer=None),), spec.heads)


def build() -> Any:
    keras = legacy_keras.load()
    layers = keras.layers
    keras.utils.set_random_seed(3)
    raw = keras.Input(SPEC.input.shape, dtype="int32", name="text")
    x = layers.Embedding(texts.VOCABULARY, 8, name="embedding")(raw)
    x = layers.GlobalMaxPooling1D(name="highest")(x)
    return keras.Model(raw, layers.Dense(3, name="logits")(x), name="words")


def write_saved_model(folder: Path, spec: Spec) -> None:
    saved_model.write(build(), folder, spec)


def write_saved_models(folders: list[Path]) -> None:
    for folder in folders:
        write_saved_model(folder, SPEC)


def write_all(folder: Path) -> np.ndarray:
    """Write every format; return Keras' logits of the samples."""
    model, ids = build(), SPEC.tokens(SAMPLES)
    saved_model.write(model, folder / "saved_model", SPEC)
    tflite.write(model, folder / "float32.tflite", SPEC, "float32")
    tflite.write(model, folder / "int8.tflite", SPEC, "int8", ids)
    onnx.write(model, folder / "float32.onnx", SPEC)
    onnx.write_from_tflite(folder / "int8.tflite", folder / "int8.onnx", SPEC)
    logits: np.ndarray = model(ids, training=False).numpy()
    return logits


def logits_of_ids(spec: Spec) -> np.ndarray:
    """Return Keras' logits of the samples, by the token ids of a spec."""
    logits: np.ndarray = build()(spec.tokens(SAMPLES), training=False).numpy()
    return logits


def predict_saved_model(folder: Path, batch: np.ndarray) -> dict[str, np.ndarray]:
    predictor = saved_model.load(folder, SPEC, 1)
    try:
        return predictor.predict(batch)
    finally:
        predictor.close()


def called_in_turns(one: Path, two: Path) -> list[list[np.ndarray]]:
    """Return the logits of two SavedModels, loaded as functions, called twice each and in turns."""
    legacy_keras.load()
    import tensorflow as tf

    loaded = [tf.saved_model.load(str(folder / "1")) for folder in (one, two)]
    found: list[list[np.ndarray]] = [[], []]
    for place in (0, 1, 0, 1):
        answer = loaded[place].signatures["serving_default"](text=tf.constant(SAMPLES.tolist()))
        found[place].append(answer["logits"].numpy())
    return found


def serve_unchecked(folder: Path, shape: tuple[int, ...]) -> str:
    """Feed empty texts of a shape as TF Serving does; return "answered", or the name of the error."""
    legacy_keras.load()
    import tensorflow as tf

    predictor = saved_model.load(folder, SPEC, 1)
    try:
        predictor.predict(np.zeros(shape, "S1"))
    except tf.errors.OpError as error:
        return type(error).__name__
    finally:
        predictor.close()
    return "answered"
