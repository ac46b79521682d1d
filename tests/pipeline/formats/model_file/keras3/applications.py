"""Networks that both Keras bring, of Keras 3: call `made` in a child that has no other Keras."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from pipeline.formats.model_file.keras3 import reference
from pipeline.formats.model_file.scan import scan

SIDE, CLASSES = 96, 10
OPTIONS: dict[str, dict[str, Any]] = {"MobileNetV2": {"alpha": 0.35}, "EfficientNetB0": {}, "ResNet50": {}}


# a network of the same kind as a layer of the user's own model, as transfer learning has it
TRANSFER = "transfer"


def build(keras: Any, name: str) -> Any:
    """Return a network with weights by chance, those of its normalizations included."""
    keras.utils.set_random_seed(0)
    if name == TRANSFER:
        return _transfer(keras)
    make = getattr(keras.applications, name)
    model = make(input_shape=(SIDE, SIDE, 3), weights=None, classes=CLASSES, **OPTIONS[name])
    _normalize(model)
    return model


def _transfer(keras: Any) -> Any:
    layers = keras.layers
    base = keras.applications.MobileNetV2((SIDE, SIDE, 3), alpha=0.35, weights=None, include_top=False)
    _normalize(base)
    base.trainable = False
    rows = [layers.RandomFlip("horizontal", name="flip"), layers.RandomRotation(0.1, name="rotation")]
    inputs = keras.Input((SIDE, SIDE, 3))
    x = layers.Rescaling(1 / 127.5, offset=-1)(keras.Sequential(rows, name="augmentation")(inputs))
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(base(x, training=False)))
    return keras.Model(inputs, layers.Dense(CLASSES, activation="softmax", name="predictions")(x))


def _normalize(model: Any) -> None:
    random = np.random.default_rng(2)
    for layer in model.layers:
        if type(layer).__name__ == "BatchNormalization":
            layer.set_weights([random.uniform(0.7, 1.3, one.shape).astype("float32") for one in layer.get_weights()])


def made(names: tuple[str, ...], folder: Path, samples: np.ndarray) -> dict[str, reference.Reference]:
    """Write each network as NAME.keras, and ask Keras 3 for its answers."""
    os.environ.update(KERAS_BACKEND="tensorflow", TF_USE_LEGACY_KERAS="0")
    import keras

    found = {}
    for name in names:
        build(keras, name).save(folder / f"{name}.keras")
        with TemporaryDirectory() as copy:
            found[name] = reference.answers(scan(folder / f"{name}.keras", Path(copy)), samples)
    return found
