"""Files of Keras 3 and what it answers, made in a process that has no other Keras: call `made` in a child."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.formats.model_file.keras3 import reference
from tests.pipeline.formats.model_file.keras3.models import MODELS
from tests.pipeline.formats.model_file.keras3.specimens import SPECIMENS, Specimen


@dataclass(frozen=True)
class Made:
    """What Keras 3 made.

    Attributes:
        references: by the file's name; a model of texts has none.
        layers: name -> class of what keras.layers has.
        activations, operations: the names that it has.
        unsaved: what it could not save itself.
    """

    references: dict[str, reference.Reference]
    layers: dict[str, str]
    activations: tuple[str, ...]
    operations: dict[str, str]
    unsaved: tuple[str, ...]


def made(folder: Path) -> Made:
    """Write all models as NAME.keras and NAME.h5, and ask Keras 3 for its answers."""
    os.environ.update(KERAS_BACKEND="tensorflow", TF_USE_LEGACY_KERAS="0")
    import keras

    references: dict[str, reference.Reference] = {}
    unsaved: list[str] = []
    models = {**{name: _of(keras, found) for name, found in SPECIMENS.items()},
              **{name: make(keras) for name, make in MODELS.items()}}  # fmt: skip
    for name, model in models.items():
        _reweigh(model)
        model.save(folder / f"{name}.keras")
        if not any("string" in str(end.dtype) for end in model.inputs):
            references[name] = reference.ask(model, config(folder / f"{name}.keras"), {})
        try:
            model.save(folder / f"{name}.h5")
        except Exception:  # noqa: BLE001 - Keras 3 cannot write all of its layers in this format
            unsaved.append(name)
    from keras.src import activations
    from keras.src.ops.operation import Operation

    layers = {name: found.__name__ for name, found in vars(keras.layers).items() if inspect.isclass(found)}
    operations = {
        name: module
        for module in ("core", "math", "nn", "numpy")
        for name, found in vars(importlib.import_module(f"keras.src.ops.{module}")).items()
        if inspect.isclass(found) and issubclass(found, Operation) and found.__module__ == f"keras.src.ops.{module}"
    }
    return Made(references, layers, tuple(activations.ALL_OBJECTS_DICT), operations, tuple(unsaved))


def _of(keras: Any, specimens: list[Specimen]) -> Any:
    """Return a model of all specimens of a class, each with inputs of its own, and of a Dense layer besides."""
    inputs, outputs = [keras.Input((2,), name="besides")], []
    outputs.append(keras.layers.Dense(1, name="besides_dense")(inputs[0]))
    for number, one in enumerate(specimens):
        kind = "float32" if not one.integers else "int32" if one.integers > 0 else "string"
        own = [keras.Input(shape, dtype=kind, name=f"x{number}_{n}") for n, shape in enumerate(one.shapes)]
        answer = one.call(one.make(keras.layers), *own)
        inputs += own
        outputs += answer if isinstance(answer, list | tuple) else [answer]
    return keras.Model(inputs, outputs)


def _reweigh(model: Any) -> None:
    """Give all weights values that no two of them share."""
    random = np.random.default_rng(1)
    for weight in model.weights:
        if weight.dtype == "float32":
            weight.assign(random.uniform(0.2, 1.0, weight.shape).astype("float32"))
    for layer in model.layers:
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()


def config(path: Path) -> Any:
    """Return the configuration in an archive."""
    with zipfile.ZipFile(path) as members:
        return json.loads(members.read("config.json"))
