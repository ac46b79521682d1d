"""quantize: int8 quantization-aware training that keeps zeros and clusters (PQAT, CQAT, PCQAT)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, model_validator

from pipeline.data import DataConfig
from pipeline.events import Emit, Note
from pipeline.fit.config import Compressing
from pipeline.stage import Job, Result

NAME = "quantize"
INPUTS = ("import", "train", "distill", "shrink", "prune", "cluster")
CODE = (
    "pipeline/compress",
    "pipeline/data",
    "pipeline/fine_tune.py",
    "pipeline/fit",
    "pipeline/formats/__init__.py",
    "pipeline/formats/custom_code.py",
    "pipeline/formats/endings.py",
    "pipeline/formats/ends.py",
    "pipeline/formats/fake_quant_file.py",
    "pipeline/formats/keras_config.py",
    "pipeline/formats/keras_file.py",
    "pipeline/formats/plain/__init__.py",
    "pipeline/formats/plain/model.py",
    "pipeline/legacy_keras.py",
    "pipeline/machine.py",
    "pipeline/measuring/anatomy.py",
    "pipeline/measuring/footprint.py",
    "pipeline/measuring/macs.py",
    "pipeline/metric.py",
    "pipeline/own_code/__init__.py",
    "pipeline/own_code/config.py",
    "pipeline/own_code/objective.py",
    "pipeline/own_code/package.py",
    "pipeline/own_code/source.py",
    "pipeline/predictor.py",
    "pipeline/quality.py",
    "pipeline/report/model.py",
    "pipeline/rows.py",
    "pipeline/scoring",
    "pipeline/stages/quantize.py",
    "pipeline/vectorizer.py",
)
LIBRARIES = ("tensorflow", "tf_keras", "tensorflow-model-optimization", "numpy", "scikit-learn")


class Config(Compressing):
    """How the model learns to be int8."""

    freeze_ranges_epochs: int = Field(
        default=0, ge=0, description="last epochs in which the ranges of activations stay where they are"
    )

    @model_validator(mode="after")
    def _ranges_move_first(self) -> Config:
        if self.freeze_ranges_epochs >= self.epochs:
            raise ValueError(
                f"freeze_ranges_epochs must be less than epochs ({self.epochs}), but is {self.freeze_ranges_epochs}: "
                "the ranges would never follow the training"
            )
        return self


def run(job: Job, *, data: DataConfig, quantize: Config, seed: int) -> Result:
    """Train a copy of the model that comes in with its rounding imitated, and assert that zeros and clusters stayed.

    The folder gets the model with and without fake quantization (`formats/fake_quant_file.py`), and models.json, which
    says of each layer how it computes, or why it stays float.

    Raises:
        DivergedError: a loss is not finite.
        InputError: no layer with weights can be quantized.
        PromiseError: zeros are gone, or there are more distinct weights than came in.
    """
    from pipeline import data as sources
    from pipeline import fine_tune
    from pipeline.compress import fake_quant, folding, promises, pruning, splitting
    from pipeline.data.batches import arrays
    from pipeline.formats import fake_quant_file, keras_file
    from pipeline.measuring import anatomy
    from pipeline.report.model import write_models

    splits = sources.load(data, job.store)
    came = fine_tune.last(job.inputs).folder
    model, _ = keras_file.read(came)
    before = fine_tune.quality(model, splits)
    model, halves = splitting.split(model)
    model, into = folding.fold(model)
    promised = promises.of(came, model)
    left = fake_quant.floating(model)
    for name, first in halves.items():
        job.emit(Note(NAME, f"{name} computes in two steps, and becomes {first} and {name}"))
    for name, dense in into.items():
        job.emit(Note(NAME, f"{name} is folded into {dense}"))
    for name, reason in left.items():
        job.emit(Note(NAME, f"{name} stays float: {reason}"))
    zeros = pruning.zeros(model)
    built = fake_quant.build(model, {name: clusters.per for name, clusters in promised.clusters.items()})
    for name in fake_quant.calibrate(built, model, arrays(splits.calibration.x)):
        job.emit(Note(NAME, f"the range inside {name} is not calibrated: it starts at -6..6 and follows the training"))
    frozen = quantize.freeze_ranges_epochs
    callbacks: list[Any] = [fake_quant.freezing(quantize.epochs - frozen + 1)] if frozen else []
    tuned = fine_tune.tune(
        job, built, splits, quantize, data=data, seed=seed, stage=NAME, work=job.work,
        teaching=fine_tune.teaching(job.inputs, quantize), callbacks=callbacks,
    )  # fmt: skip
    fake_quant.settle(built)
    plain = fake_quant.plain(built, model)
    promises.require(plain, promised, zeros, stage=NAME)
    keras_file.write(plain, splits.spec, job.folder)
    fake_quant_file.write(built, job.folder)
    wide = fake_quant.per_channel(built)
    precisions = {
        layer.name: "int8 per-channel" if wide.get(layer.name) else "int8"
        for layer in plain.layers
        if layer.name not in left
    }
    described = anatomy.describe(
        plain,
        NAME,
        targets=promised.zeros,
        clusters=promises.entries(plain, promised),
        precisions=precisions,
        reasons=left,
        training=tuned.history.epochs,
    )
    write_models([described], job.folder)
    return Result(
        {
            "int8_layers": len(described.layers) - len(left), "float_layers": len(left), "sparsity": described.sparsity,
            "epoch": tuned.epoch, **fine_tune.metrics(splits, fine_tune.quality(built, splits), before),
        }
    )  # fmt: skip


def assess(metrics: Mapping[str, float], emit: Emit, *, quantize: Config) -> None:
    """Hold the result to the accuracy that it may lose; see `fine_tune.require_accuracy`."""
    from pipeline import fine_tune

    fine_tune.require_accuracy(metrics, quantize, stage=NAME, emit=emit)
