"""train: a model of `models/` from scratch, or an imported one further, on the training split; it teaches others."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Any

from models import ModelConfig
from models.several import Ensemble, Selection
from pipeline.compute.config import Compute
from pipeline.data import DataConfig
from pipeline.errors import InputError
from pipeline.events import Emit, Note
from pipeline.fit.config import TENSORBOARD, FitConfig
from pipeline.own_code.config import Builder
from pipeline.stage import Job, Result, Surroundings

NAME = "train"
INPUTS = ("import",)
CODE = (
    "models",
    "pipeline/compress/__init__.py",
    "pipeline/compress/distillation",
    "pipeline/compress/flattening.py",
    "pipeline/compress/kernels.py",
    "pipeline/compute",
    "pipeline/data",
    "pipeline/fine_tune.py",
    "pipeline/fit",
    "pipeline/formats/__init__.py",
    "pipeline/formats/custom_code.py",
    "pipeline/formats/endings.py",
    "pipeline/formats/ends.py",
    "pipeline/formats/keras_config.py",
    "pipeline/formats/keras_file.py",
    "pipeline/formats/model_file",
    "pipeline/formats/plain/__init__.py",
    "pipeline/formats/plain/model.py",
    "pipeline/legacy_keras.py",
    "pipeline/machine.py",
    "pipeline/measuring/anatomy.py",
    "pipeline/measuring/footprint.py",
    "pipeline/measuring/macs.py",
    "pipeline/metric.py",
    "pipeline/own_code",
    "pipeline/predictor.py",
    "pipeline/quality.py",
    "pipeline/report/data.py",
    "pipeline/report/model.py",
    "pipeline/rows.py",
    "pipeline/scoring",
    "pipeline/several.py",
    "pipeline/stages/train.py",
    "pipeline/variants.py",
    "pipeline/vectorizer.py",
)
LIBRARIES = ("tensorflow", "tf_keras", "numpy", "scikit-learn")


def surroundings(emit: Emit, *, model: ModelConfig | Builder | Selection | Ensemble) -> Surroundings:  # noqa: ARG001 - every stage's have the same face
    """Return the code of a function of the user's that builds the model."""
    from pipeline.own_code import source

    return source.surroundings(model)


def run(
    job: Job,
    *,
    data: DataConfig,
    model: ModelConfig | Builder | Selection | Ensemble,
    train: FitConfig,
    seed: int,
    compute: Compute = Compute(),
) -> Result:
    """Build the model, or take the imported one, and fit it.

    With early stopping the weights of the best epoch are kept, else the last. The folder gets the model
    (`formats/keras_file.py`), models.json and, if asked for, tensorboard/.

    Raises:
        DivergedError: a loss is not finite.
        InputError: the model does not fit the data, or has nothing to train; or the user's function fails.
    """
    import models
    from pipeline import data as sources
    from pipeline import fine_tune, several
    from pipeline.data.summary import summary
    from pipeline.fit import tasks
    from pipeline.fit.loop import fit
    from pipeline.formats import keras_file
    from pipeline.measuring import anatomy
    from pipeline.own_code import build, objective
    from pipeline.report.data import write_data
    from pipeline.report.model import write_models

    splits = sources.load(data, job.store, look=not job.inputs)
    if not job.inputs:
        write_data(summary(splits, data), job.folder)
    for note in splits.notes:
        job.emit(Note(NAME, note))
    if isinstance(model, (Selection, Ensemble)):
        return several.run(job, splits, data=data, model=model, train=train, seed=seed, stage=NAME, compute=compute)
    tasks.only_head(splits.spec)
    before = None
    if job.inputs:  # an imported model: `model` names only its file
        network, _ = keras_file.read(fine_tune.last(job.inputs).folder)
        _require_trainable(network)
        before = fine_tune.quality(network, splits)
        job.emit(Note(NAME, "starts from the weights of the model file (fine-tuning)"))
    elif isinstance(model, Builder):
        network = build.build(model, splits, seed, expected=job.found, stage=NAME, emit=job.emit)
    else:
        network = models.build(model, splits.spec, seed)
    own = objective.of(model)
    history = fit(
        network, splits, train, data=data, seed=seed, stage=NAME, work=job.work, emit=job.emit, objective=own,
        compute=compute,
    )  # fmt: skip
    keras_file.write(network, splits.spec, job.folder)
    objective.write(own, job.folder)
    if train.tensorboard:
        # copied: until the result is stored, the next call may have to do this again
        shutil.copytree(job.work / TENSORBOARD, job.folder / TENSORBOARD)
    # without early stopping the last weights are kept, whichever were best
    kept = history.best_epoch if train.early_stopping else len(history.epochs["val_loss"])
    described = anatomy.describe(network, NAME, training=history.epochs)
    write_models([described], job.folder)
    reached, metric = history.at(kept), splits.spec.head.metric
    return Result(
        {
            "parameters": described.parameters, "macs": described.macs or 0, "epoch": kept,
            "val_loss": reached["val_loss"],
            **{f"val_{name}": reached[f"val_{name}"] for name in (own.metrics if own else ())},
            **fine_tune.metrics(splits, reached[f"val_{metric}"], before),
        }
    )  # fmt: skip


def assess(metrics: Mapping[str, float], emit: Emit) -> None:
    """Say it where fine-tuning made a model worse; nothing bounds it, as the recipe asked for this training."""
    from pipeline import fine_tune

    found = fine_tune.compared(metrics, "the file's")
    if found is not None and found.lost > 0:
        text = (
            f"fine-tuning made the model worse: {found.said}; a lower train.optimizer.learning_rate, "
            "train.early_stopping, or no section train"
        )
        emit(Note(NAME, text, level="warning"))


def _require_trainable(model: Any) -> None:
    if not model.trainable_weights:
        raise InputError(
            "the imported model has nothing to train", expected="weights that are not frozen",
            found="every layer has trainable=False",
            todo="leave out the section train, or save the model with layers unfrozen",
        )  # fmt: skip
