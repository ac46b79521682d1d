"""The whole line for one architecture, a little of everything; runs in a child process, for TensorFlow's sake."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from models import ModelConfig
from models.several import Ensemble
from pipeline import data
from pipeline.data import DataConfig
from pipeline.fit.config import FitConfig
from pipeline.formats import keras_file
from pipeline.measuring import runtimes
from pipeline.predictor import count, rows
from pipeline.report.model import Model, read_models
from pipeline.stages import export, prune, quantize, train
from tests.pipeline.stages.small import job

FIT: dict[str, Any] = {"batch_size": 64, "tensorboard": False}
FINE_TUNING: dict[str, Any] = FIT | {"epochs": 1}
SPARSITY = 0.5
EXPORT = export.Config(saved_model=("float32",), tflite=("float32", "int8"), onnx=("float32", "int8"))


@dataclass(frozen=True)
class Case:
    """An architecture, the data that it is for, whether it learns to be int8, and how long it learns.

    Few epochs will do unless it is deep: rounding is compared with the size of what is learned.
    """

    config: ModelConfig | Ensemble
    data: DataConfig = field(default_factory=DataConfig)
    quantize: bool = True
    epochs: int = 2


@dataclass(frozen=True)
class Line:
    """What came of it.

    Attributes:
        models: what each stage made, by its name.
        artifacts: id -> what was exported.
        expected: stage -> what its Keras model ends in (`Spec.ends`) for test samples, float32 [n, ...].
        answers: id -> the same of the exported file in its runtime, for the same samples.
    """

    models: dict[str, Model]
    artifacts: dict[str, Any]
    expected: dict[str, dict[str, np.ndarray]]
    answers: dict[str, dict[str, np.ndarray]]


def go(case: Case, folder: Path) -> Line:
    """Train a little, prune, quantize where the case says so, export, and ask every file in its runtime."""
    folders = {"train": folder / "train"}
    fit = FitConfig.model_validate(FIT | {"epochs": case.epochs})
    train.run(job(folders["train"], []), data=case.data, model=case.config, train=fit, seed=0)
    pruning = prune.Config.model_validate(FINE_TUNING | {"final_sparsity": SPARSITY})
    prune.run(job(folder / "prune", [], **folders), data=case.data, prune=pruning, seed=0)
    folders["prune"] = folder / "prune"
    if case.quantize:
        tuning = quantize.Config.model_validate(FINE_TUNING)
        quantize.run(job(folder / "quantize", [], **folders), data=case.data, quantize=tuning, seed=0)
        folders["quantize"] = folder / "quantize"

    splits = data.load(case.data)
    _, spec = keras_file.read(folders["train"])
    samples = rows(data.load(case.data, strings=True).test.x, slice(64))
    artifacts, answers = {}, {}
    for item in (items := export.plan(EXPORT, [stage for stage in folders if stage != "train"])):
        static = item.precision == "int8" and item.stage != "quantize"
        calibration = splits.calibration.x if static else None
        artifacts[item.id] = export.convert(item, folders[item.stage], folder, calibration, EXPORT)
        source = runtimes.File(item.format, folder / item.filename)
        answers |= runtimes.answer({item.id: source}, spec, samples, 1, count(samples))
    return Line(
        models={stage: read_models(made)[0] for stage, made in folders.items()},
        artifacts=artifacts,
        expected={
            item.stage: runtimes.answer_as_keras(folders[item.stage], samples, 1, count(samples)) for item in items
        },
        answers=answers,
    )
