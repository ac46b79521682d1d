"""Networks as files of Keras 2 and Keras 3: `python -m tests.benchmarks.network_files NAME KERAS PATH`.

A process of its own, since one has only one Keras.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

CLASSES = 10
SIDES = {"ResNet20": 32, "MobileNetV2": 96, "EfficientNetB0": 96}


def build(keras: Any, name: str) -> Any:
    """Return an untrained network; ResNet-20 (He et al., 2015) is in nobody's applications."""
    keras.utils.set_random_seed(0)
    shape = (SIDES[name], SIDES[name], 3)
    if name != "ResNet20":
        make = getattr(keras.applications, name)
        network = make(input_shape=shape, weights=None, classes=CLASSES, classifier_activation=None)
        if name == "EfficientNetB0":  # its scaling is in it
            return network
        inputs = keras.Input(shape)
        return keras.Model(inputs, network(keras.layers.Rescaling(1 / 127.5, -1.0)(inputs)))
    inputs = keras.Input(shape)
    x = _unit(keras, keras.layers.Rescaling(1 / 127.5, -1.0)(inputs), 16, 1)
    for stack, filters in enumerate((16, 32, 64)):
        for block in range(3):
            strides = 2 if stack and not block else 1
            branch = _unit(keras, _unit(keras, x, filters, strides), filters, 1, relu=False)
            if strides > 1:
                x = _unit(keras, x, filters, strides, side=1, relu=False)
            x = keras.layers.ReLU()(keras.layers.Add()([x, branch]))
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(CLASSES)(x))


def _unit(keras: Any, x: Any, filters: int, strides: int, *, side: int = 3, relu: bool = True) -> Any:
    x = keras.layers.Conv2D(filters, side, strides=strides, padding="same", use_bias=False)(x)
    x = keras.layers.BatchNormalization()(x)
    return keras.layers.ReLU()(x) if relu else x


def main() -> None:
    """Write one network."""
    name, version, path = sys.argv[1:]
    if version == "2":
        os.environ["TF_USE_LEGACY_KERAS"] = "1"
        import tf_keras as keras
    else:
        os.environ.update(KERAS_BACKEND="tensorflow", TF_USE_LEGACY_KERAS="0")
        import keras
    build(keras, name).save(Path(path))


if __name__ == "__main__":
    main()
