"""Model files as users have them, and as they should not be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline import data, legacy_keras

_KERAS_3 = """
import keras
layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.RMSNormalization(name="rms")]
layers += [keras.layers.LayerNormalization(rms_scaling=True, name="layer"), keras.layers.Dense(10, "celu", name="ends")]
keras.Sequential(layers).save("keras3.keras")
"""


def tiny(*, softmax: bool = False) -> Any:
    """Return a network for the digits with a convolution, a batch normalization and two dense layers; 5,000 weights."""
    keras = legacy_keras.load()
    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Rescaling(1 / 16),
            layers.Conv2D(8, 3, padding="same", use_bias=False, name="conv"),
            layers.BatchNormalization(momentum=0.8, name="bn"),
            layers.ReLU(name="relu"),
            layers.MaxPooling2D(2, name="pool"),
            layers.Flatten(name="flatten"),
            layers.Dense(32, activation="relu", name="hidden"),
            layers.Dense(10, activation="softmax" if softmax else None, name="ends"),
        ]
    )


def trained(path: Path, *, softmax: bool = False) -> None:
    """Write a network that is right on about 95 % of the digits."""
    keras = legacy_keras.load()
    splits = data.load(data.DataConfig())
    model = tiny(softmax=softmax)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=not softmax)
    model.compile(keras.optimizers.Adam(0.005), loss, ["accuracy"])
    model.fit(splits.train.x, splits.train.y, batch_size=64, epochs=6, verbose=0)
    _, right = model.evaluate(splits.validation.x, splits.validation.y, verbose=0)
    assert right > 0.9
    model.save(path, save_format="keras")


def keras_3(folder: Path) -> None:
    """Write keras3.keras, of layers that Keras 3 alone has, in a process of its own."""
    environment = {name: value for name, value in os.environ.items() if name != "TF_USE_LEGACY_KERAS"}
    subprocess.run([sys.executable, "-c", _KERAS_3], cwd=folder, env=environment, check=True, capture_output=True)


def rewritten(source: Path, target: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Copy a .keras file with its configuration changed."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                config = json.loads(content)
                change(config)
                content = json.dumps(config).encode()
            new.writestr(name, content)


def _layer(kind: str, name: str, value: str, more: dict[str, Any], **config: Any) -> dict[str, Any]:
    """Return a layer's configuration that is called with a constant instead of another layer's output."""
    return {
        "class_name": kind, "module": "keras.layers", "registered_name": None, "name": name,
        "config": {"name": name, "trainable": False, "dtype": "float32", **config},
        "inbound_nodes": [["_CONSTANT_VALUE", -1, value, more]],
    }  # fmt: skip


def runs_a_command(marker: str) -> Callable[[dict[str, Any]], None]:
    """Add a Lambda layer with a function of Python's own, by its name: Keras' safe mode looks at bytecode alone."""
    function = {"class_name": "function", "config": "getoutput", "module": "subprocess", "registered_name": "function"}

    def change(config: dict[str, Any]) -> None:
        layer = _layer(
            "Lambda", "evil", f"touch {marker}", {}, function=function, function_type="function", module="x",
            output_shape=None, output_shape_type="raw", output_shape_module=None, arguments={},
        )  # fmt: skip
        config["config"]["layers"].append(layer)

    return change


def writes_a_file(marker: str) -> Callable[[dict[str, Any]], None]:
    """Add a layer that is TensorFlow's operation to write a file."""

    def change(config: dict[str, Any]) -> None:
        layer = _layer("TFOpLambda", "evil", marker, {"contents": "was here"}, function="io.write_file")
        config["config"]["layers"].append(layer)

    return change


def is_no_model(config: dict[str, Any]) -> None:
    """Let the file say that it is a function of Python, in a module that says something when it is imported."""
    config.update({"class_name": "function", "config": "s", "module": "this", "registered_name": "function"})
