"""A trained model inside an artifact: `model.keras` and, beside it, `spec.json` with what goes in and comes out."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import legacy_keras
from pipeline.files import canonical, write_json
from pipeline.predictor import LOGITS, PROBABILITIES, Spec

MODEL, SPEC = "model.keras", "spec.json"


def write(model: Any, spec: Spec, folder: Path) -> None:
    """Write a tf_keras model and its spec into an artifact's folder, which is made where it is not there.

    Equal models become equal bytes, whenever they are written.
    """
    folder.mkdir(exist_ok=True)
    dated = folder / f"dated.{MODEL}"
    try:
        model.save(dated, save_format="keras")
        _copy_without_dates(dated, folder / MODEL)
    finally:
        dated.unlink(missing_ok=True)
    write_json(folder / SPEC, dataclasses.asdict(spec))


def _copy_without_dates(source: Path, target: Path) -> None:
    with zipfile.ZipFile(source) as dated, zipfile.ZipFile(target, "w") as undated:
        for name in dated.namelist():
            content = dated.read(name)
            if name == "metadata.json":
                content = canonical(json.loads(content) | {"date_saved": "1980-01-01@00:00:00"}).encode()
            undated.writestr(zipfile.ZipInfo(name), content)  # dated 1980-01-01, as far back as an archive can


def read(folder: Path) -> tuple[Any, Spec]:
    """Return the model, not compiled, and its spec. Code inside the file is refused (Keras safe mode)."""
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
