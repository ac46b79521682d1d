"""train: a model of `models/`, from scratch, on the training split; the teacher and reference of what follows."""

from __future__ import annotations

import shutil

from models import ModelConfig
from pipeline.data import DataConfig
from pipeline.events import Note
from pipeline.fit.config import TENSORBOARD, FitConfig
from pipeline.stage import Job, Result

NAME = "train"
INPUTS = ()
CODE = (
    "models",
    "pipeline/compress/__init__.py",
    "pipeline/compress/distillation.py",
    "pipeline/compress/kernels.py",
    "pipeline/data",
    "pipeline/fit",
    "pipeline/formats/__init__.py",
    "pipeline/formats/keras_file.py",
    "pipeline/legacy_keras.py",
    "pipeline/measuring/anatomy.py",
    "pipeline/measuring/footprint.py",
    "pipeline/measuring/macs.py",
    "pipeline/predictor.py",
    "pipeline/report/model.py",
    "pipeline/stages/train.py",
)
LIBRARIES = ("tensorflow", "tf_keras", "numpy", "scikit-learn")


def run(job: Job, *, data: DataConfig, model: ModelConfig, train: FitConfig, seed: int) -> Result:
    """Build the model and fit it; with early stopping the weights of the best epoch are kept, else the last.

    The folder gets the model (`formats/keras_file.py`), models.json and, if asked for, tensorboard/.

    Raises:
        DivergedError: a loss is not finite.
        InputError: the model does not fit the data.
    """
    import models
    from pipeline import data as sources
    from pipeline.fit.loop import fit
    from pipeline.formats import keras_file
    from pipeline.measuring import anatomy
    from pipeline.report.model import write_models

    splits = sources.load(data)
    for note in splits.notes:
        job.emit(Note(NAME, note))
    network = models.build(model, splits.spec, seed)
    history = fit(network, splits, train, data=data, seed=seed, stage=NAME, work=job.work, emit=job.emit)
    keras_file.write(network, splits.spec, job.folder)
    if train.tensorboard:
        # copied: until the result is stored, the next call may have to do this again
        shutil.copytree(job.work / TENSORBOARD, job.folder / TENSORBOARD)
    # without early stopping the last weights are kept, whichever were best
    kept = history.best_epoch if train.early_stopping else len(history.epochs["val_loss"])
    described = anatomy.describe(network, NAME, training=history.epochs)
    write_models([described], job.folder)
    return Result(
        {
            "parameters": described.parameters,
            "macs": described.macs,
            "epoch": kept,
            "val_accuracy": history.at(kept)["val_accuracy"],
            "val_loss": history.at(kept)["val_loss"],
        }
    )
