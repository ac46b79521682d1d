"""What distillation, pruning and quantization-aware training share: a fit with a teacher, a bound on what it loses."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.artifact import Artifact
from pipeline.compress.distillation import Teaching
from pipeline.data.batches import predict
from pipeline.errors import PromiseError
from pipeline.events import Emit, Note
from pipeline.fit import tasks
from pipeline.fit.config import TENSORBOARD, EarlyStopping, FineTuning
from pipeline.fit.loop import EVALUATION_BATCH, History, fit
from pipeline.formats import keras_file
from pipeline.own_code import objective as objectives
from pipeline.quality import quality as quality_of

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.data import DataConfig, Splits
    from pipeline.stage import Job


@dataclass(frozen=True)
class Tuned:
    """What came of a fit.

    Attributes:
        epoch: whose weights the model has, counted from 1.
        metric: what the model is judged by, accuracy or r2.
    """

    history: History
    epoch: int
    metric: str = "accuracy"

    @property
    def quality(self) -> float:
        """Accuracy or R2 of these weights on the validation split, at most 1."""
        return self.history.at(self.epoch)[f"val_{self.metric}"]


def last(inputs: Mapping[str, Artifact]) -> Artifact:
    """Return the model that comes in: the last one made."""
    return list(inputs.values())[-1]


def teaching(inputs: Mapping[str, Artifact], config: FineTuning, more: Sequence[Any] = ()) -> Teaching | None:
    """Return the first model of the run, and `more`, as teachers; None where the recipe asks for labels alone.

    An imported model that the run fine-tunes teaches with what it has learned.
    """
    if config.teach is None:
        return None
    teacher = inputs["train"] if "train" in inputs else next(iter(inputs.values()))
    first, _ = keras_file.read(teacher.folder)
    return Teaching((first, *more), config.teach.temperature, config.teach.soft_weight)


def tune(
    job: Job, model: Any, splits: Splits, config: FineTuning, *, data: DataConfig, seed: int, stage: str, work: Path,
    teaching: Teaching | None, callbacks: Iterable[Any] = (), from_epoch: int = 1,
    objective: objectives.Objective | None = None,
) -> Tuned:  # fmt: skip
    """Fit a model on.

    Args:
        from_epoch: the first epoch, counted from 1, whose weights may be kept: before it the technique is not done.
        objective: a loss and metrics of the user's own; None: those of the model that comes in. The folder gets them.
    """
    metric = tasks.only_head(splits.spec).metric
    chosen = config.early_stopping
    if chosen is None and config.on_regression == "keep_best":
        chosen = EarlyStopping(monitor="val_accuracy", patience=config.epochs)
    if chosen is not None:
        chosen = chosen.model_copy(update={"from_epoch": max(chosen.from_epoch, min(from_epoch, config.epochs))})
    config = config.model_copy(update={"early_stopping": chosen})
    if objective is None and job.inputs:
        objective = objectives.read(last(job.inputs).folder)
    history = fit(
        model, splits, config, data=data, seed=seed, stage=stage, work=work, emit=job.emit, teaching=teaching,
        callbacks=callbacks, objective=objective,
    )  # fmt: skip
    objectives.write(objective, job.folder)
    if config.tensorboard:
        shutil.copytree(work / TENSORBOARD, job.folder / TENSORBOARD / work.name)
    return Tuned(history, history.best_epoch if chosen else len(history.epochs["val_loss"]), metric)


def quality(model: Any, splits: Splits) -> float:
    """Return a model's accuracy or R2 on the validation split, at most 1."""
    answers = predict(model, splits.validation.x, batch_size=EVALUATION_BATCH)
    return quality_of(tasks.only_head(splits.spec), np.asarray(splits.validation.y), answers)


def metrics(splits: Splits, after: float, before: float | None = None, prefix: str = "") -> dict[str, float]:
    """Return a stage's metrics of the validation split: val_accuracy or val_r2, and that of the model that came in."""
    key = f"{prefix}val_{splits.spec.head.metric}"
    return {key: after} | ({} if before is None else {f"{key}_before": before})


def shown(value: float, metric: str) -> str:
    """Return accuracy or R2 in words."""
    return f"{value:.2%}" if metric == "accuracy" else f"R2 {value:.4f}"


def compared(metrics: Mapping[str, float], came: str = "the model that came in") -> tuple[float, float | None, str]:
    """Return a stage's quality on the validation split, that of the model that came in, and both in words."""
    metric = "accuracy" if "val_accuracy" in metrics else "r2"
    after, before = metrics[f"val_{metric}"], metrics.get(f"val_{metric}_before")
    beside = "" if before is None else f", {came} had {shown(before, metric)}"
    return after, before, f"{shown(after, metric)} on the validation split{beside}"


def require_accuracy(metrics: Mapping[str, float], config: FineTuning, *, stage: str, emit: Emit) -> None:
    """Hold a stage to what it may lose on the validation split against the model that came in.

    Args:
        metrics: the stage's, with `val_accuracy` (or `val_r2`), the same of the model that came in, and `epoch`.

    Raises:
        PromiseError: more was lost, and the recipe says `stop`. The result is kept: with another bound the run goes on.
    """
    after, before, said = compared(metrics)
    if before is None or before - after <= config.max_accuracy_loss + 1e-9:
        if before is not None and after < before:
            bound = f"within {stage}.max_accuracy_loss of {100 * config.max_accuracy_loss:g} points"
            hint = f"a lower {stage}.optimizer.learning_rate or {stage}.early_stopping may keep more"
            emit(Note(stage, f"{said}: {bound}; {hint}"))
        return
    if config.on_regression == "stop":
        raise PromiseError(
            f"{stage}: more accuracy is lost than the recipe allows",
            expected=f"at most {100 * config.max_accuracy_loss:g} points ({stage}.max_accuracy_loss)",
            found=said,
            todo=f"a milder {stage}, {stage}.teach or more {stage}.epochs; or take it as it is, trained already: "
            f"{stage}.max_accuracy_loss or {stage}.on_regression=continue",
        )  # fmt: skip
    which = f"with epoch {metrics['epoch']:.0f}, the best" if config.on_regression == "keep_best" else "all the same"
    emit(Note(stage, f"goes on {which}: {said}", level="warning"))
