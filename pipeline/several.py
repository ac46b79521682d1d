"""Several models fitted on the same budget, for train: the best candidate goes on, or the mean of all members.

Each fit has a folder of its own in the unfinished work. A call that comes after an interruption takes a finished one
from its last checkpoint and trains it no further.
"""

from __future__ import annotations

import dataclasses
import math
import shutil
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

import models
from models import ModelConfig, ensemble
from models.several import Ensemble, Selection
from pipeline import fine_tune
from pipeline.compute.config import Compute
from pipeline.errors import DivergedError
from pipeline.events import Emit, Event, Note, Progress
from pipeline.fit import tasks
from pipeline.fit.config import TENSORBOARD, FitConfig
from pipeline.fit.loop import fit
from pipeline.formats import keras_file
from pipeline.measuring import anatomy, footprint
from pipeline.metric import of_key
from pipeline.report.model import Fitted, Several, write_models
from pipeline.stage import Result

if TYPE_CHECKING:
    from pipeline.data import DataConfig, Splits
    from pipeline.stage import Job


def run(
    job: Job,
    splits: Splits,
    *,
    data: DataConfig,
    model: Selection | Ensemble,
    train: FitConfig,
    seed: int,
    stage: str,
    compute: Compute = Compute(),
) -> Result:
    """Fit every candidate or member, and write what goes on as `stages/train.py` writes its model.

    Nothing is asked of the test split. A candidate that diverges is out, and the others go on.

    Raises:
        DivergedError: a loss of a member, or of every candidate, is not finite.
        InputError: a model does not fit the data.
    """
    metric = tasks.only_head(splits.spec).metric
    each = _Each(job, splits, data, train, stage, metric, compute)
    if isinstance(model, Selection):
        whole, found = _select(each, model, seed)
    else:
        whole, found = _average(each, model, seed)
    job.emit(Note(stage, found.reason))
    keras_file.write(whole, splits.spec, job.folder)
    best = found.fitted[found.best]
    alone = found.role == "candidate"
    described = anatomy.describe(whole, stage, training=best.training if alone else None)
    write_models([described.model_copy(update={"several": found})], job.folder)
    metrics: dict[str, float] = {
        "parameters": described.parameters, "macs": described.macs or 0, f"{found.role}s": len(found.fitted)
    }  # fmt: skip
    if best.epoch is not None and alone:
        metrics |= {"epoch": best.epoch, "val_loss": best.training["val_loss"][best.epoch - 1]}
    elif best.quality is not None:
        metrics |= {f"best_member_val_{metric}": best.quality}
    return Result(metrics | fine_tune.metrics(splits, found.quality))


def choose(fitted: Sequence[Fitted], metric: str) -> int:
    """Return the index of the best on the validation split; of equals the one with the fewest parameters, or the first.

    Args:
        metric: the key of what they are judged by.

    Raises:
        DivergedError: none of them can be used.
    """
    worth = of_key(metric)[1].worth
    usable = [
        (worth(one.quality), -one.parameters, -place) for place, one in enumerate(fitted) if one.quality is not None
    ]
    if not usable:
        raise DivergedError(
            "none of the candidates learned anything", expected="one whose loss is finite to the end",
            found="; ".join(f"{one.name}: {one.error}" for one in fitted),
            todo="lower train.optimizer.learning_rate, or set train.clip or train.schedule.warmup_epochs",
        )  # fmt: skip
    return -max(usable)[2]


def reason(fitted: Sequence[Fitted], best: int, metric: str) -> str:
    """Return in a sentence which candidate was chosen and why."""
    one, reached = fitted[best], _quality(fitted[best])
    others = [other for place, other in enumerate(fitted) if place != best and other.quality is not None]
    equal = [other for other in others if other.quality == reached]
    said = f"{one.name} goes on: {fine_tune.shown(reached, metric)} on the validation split"
    if equal:
        smaller = all(one.parameters < other.parameters for other in equal)
        return f"{said}, as {' and '.join(other.name for other in equal)}, and " + (
            "it has fewer parameters" if smaller else "no other has fewer parameters"
        )
    if not others:
        return f"{said}; no other could be used"
    return (
        f"{said}, the next best had {fine_tune.shown(max(map(_quality, others), key=of_key(metric)[1].worth), metric)}"
    )


def worth(fitted: Sequence[Fitted], best: int, metric: str, reached: float) -> str:
    """Return in a sentence whether an ensemble is better than its best member."""
    single = _quality(fitted[best])
    lost = of_key(metric)[1].lost(single, reached)
    word = "better than" if lost < 0 else "as good as" if lost == 0 else "worse than"
    return (
        f"on the validation split the ensemble is {word} its best member: {fine_tune.shown(reached, metric)}, member "
        f"{best + 1} ({fitted[best].name}) had {fine_tune.shown(single, metric)}"
    )


def _quality(one: Fitted) -> float:
    assert one.quality is not None, one.error  # `choose` takes no other
    return one.quality


def in_short(config: ModelConfig) -> str:
    """Return an architecture and what its config changes of the defaults: "mlp, dense: [32]"."""
    changed = config.model_dump(mode="json", exclude_defaults=True).items()
    return ", ".join([config.architecture, *(f"{key}: {value}" for key, value in changed if key != "architecture")])


def member_seeds(seed: int, count: int) -> list[int]:
    """Return a seed for each member, all different; the first is the run's own."""
    others = np.random.SeedSequence(seed).spawn(count - 1)
    return [seed, *(int(one.generate_state(1)[0]) & 0x7FFFFFFF for one in others)]


@dataclasses.dataclass(frozen=True)
class _Each:
    """Fits one after the other."""

    job: Job
    splits: Splits
    data: DataConfig
    train: FitConfig
    stage: str
    metric: str
    compute: Compute

    def __call__(self, role: str, todo: Sequence[tuple[ModelConfig, int]]) -> Iterator[tuple[Any, Fitted]]:
        """Yield each Keras model with what the report says of it; `todo` are configs with their seeds."""
        for place, (config, seed) in enumerate(todo, start=1):
            network = models.build(config, self.splits.spec, seed)
            entry = Fitted(
                name=in_short(config), model=config.model_dump(mode="json"), seed=seed,
                parameters=footprint.parameters(network), macs=footprint.macs(network).total,
            )  # fmt: skip
            who = f"{role} {place} of {len(todo)} ({entry.name})"
            try:
                yield network, self._fitted(network, entry, f"{role}-{place}", who)
            except DivergedError as error:
                if role == "member":
                    raise DivergedError(
                        f"{who}: {error.what}", expected=error.expected, found=error.found, todo=error.todo
                    ) from error
                self.job.emit(Note(self.stage, f"{who} is out: {error.what}", level="warning"))
                yield network, entry.model_copy(update={"error": error.what})

    def _fitted(self, network: Any, entry: Fitted, room: str, who: str) -> Fitted:
        work = self.job.work / room
        history = fit(
            network, self.splits, self.train, data=self.data, seed=entry.seed, stage=self.stage, work=work,
            emit=_named(self.job.emit, who), compute=self.compute,
        )  # fmt: skip
        if self.train.tensorboard:
            # copied: until the result is stored, the next call may have to do this again
            shutil.copytree(work / TENSORBOARD, self.job.folder / TENSORBOARD / room)
        epoch = history.best_epoch if self.train.early_stopping else len(history.epochs["val_loss"])
        # not the history's, which is rounded to float32: what is compared is computed in one way
        quality = fine_tune.quality(network, self.splits)
        if not math.isfinite(quality):
            raise DivergedError(
                f"{self.stage}: {self.metric} on the validation split is not finite", found=f"{quality}"
            )
        said = f"{fine_tune.shown(quality, self.metric)} on the validation split after epoch {epoch}"
        self.job.emit(Note(self.stage, f"{who}: {said}, {entry.parameters:,} parameters"))
        return entry.model_copy(update={"epoch": epoch, "quality": quality, "training": history.epochs})


def _select(each: _Each, model: Selection, seed: int) -> tuple[Any, Several]:
    """Return the best candidate; only the best so far is held in memory."""
    best, done = None, []
    for network, entry in each("candidate", [(one, seed) for one in model.candidates]):
        done.append(entry)
        if entry.quality is not None and choose(done, each.metric) == len(done) - 1:
            best = network
    chosen = choose(done, each.metric)
    return best, Several(
        role="candidate", metric=each.metric, fitted=done, best=chosen, quality=_quality(done[chosen]),
        reason=reason(done, chosen, each.metric),
    )  # fmt: skip


def _average(each: _Each, model: Ensemble, seed: int) -> tuple[Any, Several]:
    """Return the mean of all members."""
    todo = list(zip(model.members, member_seeds(seed, len(model.members)), strict=True))
    networks, done = zip(*each("member", todo), strict=True)
    whole = ensemble.join(networks, each.splits.spec)
    best, reached = choose(done, each.metric), fine_tune.quality(whole, each.splits)
    return whole, Several(
        role="member", metric=each.metric, fitted=list(done), best=best, quality=reached,
        reason=worth(done, best, each.metric, reached),
    )  # fmt: skip


def _named(emit: Emit, who: str) -> Emit:
    """Return an `emit` that says of progress and notes which model they are of."""

    def named(event: Event) -> None:
        if isinstance(event, Progress):
            event = dataclasses.replace(event, item=who)
        elif isinstance(event, Note):
            event = dataclasses.replace(event, text=f"{who}: {event.text}")
        emit(event)

    return named
