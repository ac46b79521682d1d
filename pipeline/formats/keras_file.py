"""A trained model inside an artifact: `model.keras` and, beside it, `spec.json` with what goes in and comes out."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import legacy_keras
from pipeline.files import write_json
from pipeline.predictor import LOGITS, PROBABILITIES, Spec

MODEL, SPEC = "model.keras", "spec.json"
# key of spec.json, where it is true: layers of the user's own, or a Lambda; the user allowed them when they came in
CUSTOM = "custom_code"


def write(model: Any, spec: Spec, folder: Path) -> None:
    """Write a tf_keras model and its spec into an artifact's folder, which is made where it is not there."""
    folder.mkdir(exist_ok=True)
    model.save(folder / MODEL, save_format="keras")
    write_json(folder / SPEC, dataclasses.asdict(spec) | ({CUSTOM: True} if _custom(model) else {}))


def read(folder: Path) -> tuple[Any, Spec]:
    """Return the model, not compiled, and its spec.

    Code inside the file is refused (Keras safe mode), but where the artifact says that the user allowed it.
    """
    keras = legacy_keras.load()
    fields = json.loads((folder / SPEC).read_text(encoding="utf-8"))
    custom = fields.pop(CUSTOM, False)
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    return keras.models.load_model(folder / MODEL, compile=False, safe_mode=not custom), Spec(**fields)


def _custom(model: Any) -> bool:
    """Return whether a model holds code that is not Keras' own."""
    layers = list(model._flatten_layers())
    return any(type(layer).__name__ == "Lambda" or not _of_keras(layer) for layer in layers)


def _of_keras(layer: Any) -> bool:
    return type(layer).__module__.partition(".")[0] in ("tf_keras", "keras")


class KerasPredictor:
    """A Keras model that ends in logits, as a Predictor; the ground truth of parity."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def predict(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        """See `Predictor.predict`."""
        import tensorflow as tf

        logits = self._model(batch, training=False)
        return {LOGITS: logits.numpy(), PROBABILITIES: tf.nn.softmax(logits).numpy()}

    def close(self) -> None:
        """See `Predictor.close`."""
