"""train: a model of `models/`, from scratch, on the training split; the teacher and reference of what follows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from models import ModelConfig
from pipeline.artifact import write_json
from pipeline.data import DataConfig
from pipeline.events import Note
from pipeline.fit_config import FitConfig
from pipeline.stage import Job, Result

NAME = "train"
INPUTS = ()
CODE = (
    "models",
    "pipeline/data",
    "pipeline/fit.py",
    "pipeline/fit_config.py",
    "pipeline/formats/keras_file.py",
    "pipeline/legacy_keras.py",
    "pipeline/measuring/footprint.py",
    "pipeline/predictor.py",
    "pipeline/stages/train.py",
)
LIBRARIES = ("tensorflow", "tf_keras", "numpy", "scikit-learn")

HISTORY = "history.json"


def run(job: Job, *, data: DataConfig, model: ModelConfig, train: FitConfig, seed: int) -> Result:
    """Build the model, fit it and keep the weights of the best epoch.

    The folder gets the model (`formats/keras_file.py`) and history.json: metric -> one value per epoch.

    Raises:
        DivergedError: a loss is not finite.
        InputError: the model does not fit the data.
    """
    import models
    from pipeline import data as sources
    from pipeline.fit import fit
    from pipeline.formats import keras_file
    from pipeline.legacy_keras import load as load_keras
    from pipeline.measuring import footprint

    splits = sources.load(data)
    for note in splits.notes:
        job.emit(Note(NAME, note))
    keras = load_keras()
    network = models.build(model, splits.spec, seed)
    history = fit(
        network, splits, train, data=data, loss=keras.losses.CategoricalCrossentropy(from_logits=True), seed=seed,
        stage=NAME, work=job.work, emit=job.emit,
    )  # fmt: skip
    keras_file.write(network, splits.spec, job.folder)
    write_json(job.folder / HISTORY, history.to_json())
    return Result({"parameters": footprint.parameters(network), "macs": footprint.macs(network).total})


def history(folder: Path) -> dict[str, Any]:
    """Return the training curves that `run` stored: metric -> one value per epoch."""
    stored: dict[str, Any] = json.loads((folder / HISTORY).read_text(encoding="utf-8"))
    return stored
