"""What distillation, pruning and quantization-aware training share: a fit with a teacher, a bound on what it loses."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pipeline.artifact import Artifact
from pipeline.compress.distillation import Teaching, told
from pipeline.compute.config import Compute
from pipeline.data.batches import predict
from pipeline.errors import PromiseError
from pipeline.events import Emit, Note
from pipeline.fit import tasks
from pipeline.fit.config import TENSORBOARD, EarlyStopping, FineTuning
from pipeline.fit.course import EVALUATION_BATCH
from pipeline.fit.loop import History, fit
from pipeline.formats import keras_file
from pipeline.metric import Metric, of_key
from pipeline.own_code import objective as objectives
from pipeline.quality import of_model
from pipeline.report.model import Model, write_models
from pipeline.stages import TABLES
from pipeline.variants import ALONE, CONTROL, Variant

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.data import DataConfig, Splits
    from pipeline.stage import Job


@dataclass(frozen=True)
class Tuned:
    """What came of a fit.

    Attributes:
        epoch: whose weights the model has, counted from 1.
        metric: the key of what the model is judged by.
        taught: in words what was learned of the teachers, a line for each kind of loss; empty: labels alone.
    """

    history: History
    epoch: int
    metric: str = "accuracy"
    taught: tuple[str, ...] = ()

    @property
    def quality(self) -> float:
        """What these weights are worth on the validation split, by that metric."""
        return self.history.at(self.epoch)[f"val_{self.metric}"]


def last(inputs: Mapping[str, Artifact]) -> Artifact:
    """Return the model that comes in: the last one made."""
    return [made for name, made in inputs.items() if name not in TABLES][-1]


def teaching(inputs: Mapping[str, Artifact], config: FineTuning, more: Sequence[Any] = ()) -> Teaching | None:
    """Return the first model of the run, and `more`, as teachers; None where the recipe asks for labels alone.

    An imported model that the run fine-tunes teaches with what it has learned.
    """
    if config.teach is None:
        return None
    teacher = inputs["train"] if "train" in inputs else next(iter(inputs.values()))
    first, _ = keras_file.read(teacher.folder)
    return Teaching.by(config.teach, (first, *more))


# what a stage does with a teacher, or without: writes a model into the job's folder, and returns what models.json and
# the report say of it
Learn = Callable[["Job", Teaching | None], tuple[Model, dict[str, float]]]


def compare(
    job: Job, config: FineTuning, teaching: Teaching | None, learn: Learn, *, stage: str, control: Learn | None = None
) -> dict[str, float]:
    """Let a stage learn, and once more for each variant that the recipe asks for: what was the teacher worth, or what
    did it cost to do what the stage does?

    All start alike and have the same order of samples and number of steps. The folder gets models.json, and each
    variant in a folder of its name.

    Args:
        learn: must be a function of what it is given: it is called once more without a teacher where the recipe says
            `alone`.
        control: learns as `learn` does, with the same teacher, but leaves out what the stage does; None: nobody asks.

    Returns:
        the stage's metrics, with alone_val_METRIC and control_val_METRIC of the variants.
    """
    described, metrics = learn(job, teaching)
    found = [described]
    more: list[tuple[Variant, Learn, Teaching | None]] = []
    if config.alone and teaching is not None:
        more.append((ALONE, learn, None))
    if control is not None:
        more.append((CONTROL, control, teaching))
    for variant, again, teachers in more:
        job.emit(Note(stage, f"now the same without {variant.without}, on the same budget, to compare"))
        apart = replace(job, folder=job.folder / variant.name, work=job.work / variant.name)
        apart.folder.mkdir()
        made, other = again(apart, teachers)
        found.append(made.model_copy(update={"variant": variant.name}))
        metrics |= {f"{variant.name}_{name}": other[name] for name in other if _is_quality(name)}
    write_models(found, job.folder)
    return metrics


def _is_quality(key: str) -> bool:
    return key.startswith("val_") and not key.endswith("_before")


def tune(
    job: Job, model: Any, splits: Splits, config: FineTuning, *, data: DataConfig, seed: int, stage: str, work: Path,
    teaching: Teaching | None, callbacks: Iterable[Any] = (), from_epoch: int = 1,
    objective: objectives.Objective | None = None, compute: Compute = Compute(),
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
    learned = told(model, teaching, tasks.only_head(splits.spec), stage) if teaching else ()
    if teaching and (teaching.features or teaching.relations):
        job.emit(Note(stage, f"learns of its teacher: {'; '.join(learned)}"))
    if objective is None and job.inputs:
        objective = objectives.read(last(job.inputs).folder)
    history = fit(
        model, splits, config, data=data, seed=seed, stage=stage, work=work, emit=job.emit, teaching=teaching,
        callbacks=callbacks, objective=objective, compute=compute,
    )  # fmt: skip
    objectives.write(objective, job.folder)
    if config.tensorboard:
        shutil.copytree(work / TENSORBOARD, job.folder / TENSORBOARD / work.name)
    epoch = history.best_epoch if chosen else len(history.epochs["val_loss"])
    return Tuned(history, epoch, metric, tuple(learned))


def quality(model: Any, splits: Splits) -> float:
    """Return what a model is worth on the validation split, by what it is judged by."""
    tasks.only_head(splits.spec)
    answers = predict(model, splits.validation.x, batch_size=EVALUATION_BATCH)
    return of_model(splits.spec, splits.validation, answers)


def metrics(splits: Splits, after: float, before: float | None = None, prefix: str = "") -> dict[str, float]:
    """Return a stage's metrics of the validation split: val_METRIC, and that of the model that came in."""
    key = f"{prefix}val_{splits.spec.head.metric}"
    return {key: after} | ({} if before is None else {f"{key}_before": before})


def shown(value: float, key: str) -> str:
    """Return in words what a model is worth by the metric of a key."""
    return of_key(key)[1].shown(value)


@dataclass(frozen=True)
class Compared:
    """What a stage's model is worth on the validation split, and the model that came in.

    Attributes:
        metric: that both are judged by.
        lost: how much worse it got, in the metric's own unit.
        said: both in words.
    """

    metric: Metric
    lost: float
    said: str


def compared(metrics: Mapping[str, float], came: str = "the model that came in") -> Compared | None:
    """Return what a stage lost on the validation split by its metrics; None where no model came in."""
    key = next((name for name in metrics if name.startswith("val_") and name.endswith("_before")), None)
    if key is None:
        return None
    _, metric = of_key(key.removeprefix("val_").removesuffix("_before"))
    after, before = metrics[key.removesuffix("_before")], metrics[key]
    said = f"{metric.shown(after)} on the validation split, {came} had {metric.shown(before)}"
    return Compared(metric, metric.lost(before, after), said)


def require_accuracy(metrics: Mapping[str, float], config: FineTuning, *, stage: str, emit: Emit) -> None:
    """Hold a stage to what it may lose on the validation split against the model that came in.

    Args:
        metrics: the stage's, with `val_METRIC`, the same of the model that came in, and `epoch`.

    Raises:
        PromiseError: more was lost, and the recipe says `stop`. The result is kept: with another bound the run goes on.
    """
    found = compared(metrics)
    if found is None:
        return
    allowed = f"{found.metric.scale * config.max_accuracy_loss:g}{found.metric.step}"
    if found.lost <= config.max_accuracy_loss + 1e-9:
        if found.lost > 0:
            bound = f"within {stage}.max_accuracy_loss of {allowed}"
            hint = f"a lower {stage}.optimizer.learning_rate or {stage}.early_stopping may keep more"
            emit(Note(stage, f"{found.said}: {bound}; {hint}"))
        return
    if config.on_regression == "stop":
        raise PromiseError(
            f"{stage}: {_too_much(found.metric)} than the recipe allows",
            expected=f"at most {allowed} ({stage}.max_accuracy_loss)",
            found=found.said,
            todo=f"a milder {stage}, {stage}.teach or more {stage}.epochs; or take it as it is, trained already: "
            f"{stage}.max_accuracy_loss or {stage}.on_regression=continue",
        )  # fmt: skip
    which = f"with epoch {metrics['epoch']:.0f}, the best" if config.on_regression == "keep_best" else "all the same"
    emit(Note(stage, f"goes on {which}: {found.said}", level="warning"))


def _too_much(metric: Metric) -> str:
    if metric.lower:
        return f"the {metric.noun} rose by more"
    return f"more {metric.noun} is lost"
