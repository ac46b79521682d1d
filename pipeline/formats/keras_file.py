"""A trained model inside an artifact: `model.keras` and, beside it, `spec.json` with what goes in and comes out.

Of a quantization-aware model `model.keras` holds the plain layers, with the weights that an int8 file rounds, and
`fake_quant.npz` all weights, ranges included: TF-MOT's wrappers cannot be read back from a Keras file.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import legacy_keras
from pipeline.files import write_json
from pipeline.predictor import LOGITS, PROBABILITIES, Spec

MODEL, SPEC, FAKE_QUANT = "model.keras", "spec.json", "fake_quant.npz"


def write(model: Any, spec: Spec, folder: Path, *, fake_quant: Any = None) -> None:
    """Write a tf_keras model and its spec into an artifact's folder, which is made where it is not there.

    Args:
        model: plain layers.
        fake_quant: the quantization-aware model that `compress.fake_quant.build` makes of `model`, after training.
    """
    folder.mkdir(exist_ok=True)
    model.save(folder / MODEL, save_format="keras")
    write_json(folder / SPEC, dataclasses.asdict(spec))
    if fake_quant is not None:
        arrays = {f"{place:05d}": values for place, values in enumerate(fake_quant.get_weights())}
        np.savez(folder / FAKE_QUANT, allow_pickle=False, **arrays)


def read(folder: Path) -> tuple[Any, Spec]:
    """Return the model, not compiled, and its spec; a quantization-aware model with its fake quantization.

    Code inside the file is refused (Keras safe mode).
    """
    model, spec = read_plain(folder)
    if not (folder / FAKE_QUANT).exists():
        return model, spec
    from pipeline.compress import fake_quant

    built = fake_quant.build(model)
    with np.load(folder / FAKE_QUANT, allow_pickle=False) as stored:
        built.set_weights([stored[name] for name in sorted(stored.files)])
    return built, spec


def read_plain(folder: Path) -> tuple[Any, Spec]:
    """Return the model without fake quantization, and its spec; see `read`."""
    keras = legacy_keras.load()
    fields = json.loads((folder / SPEC).read_text(encoding="utf-8"))
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    return keras.models.load_model(folder / MODEL, compile=False, safe_mode=True), Spec(**fields)


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
