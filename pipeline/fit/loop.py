"""The one loop that fits weights, for training and every later fine-tuning stage.

Bit-exact on one machine's CPU: the same model, splits, config and seed give the same weights, also when the process
was killed and the call made again with the same `work` folder. Data order, augmentation and dropout are functions of
(seed, epoch), and all other state is in the checkpoint that is written after each epoch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import takewhile, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pipeline.compress.distillation import Teaching, taught
from pipeline.compute import agreement, precision
from pipeline.compute.config import Compute
from pipeline.compute.division import Division
from pipeline.data import batches
from pipeline.errors import DivergedError, InputError
from pipeline.events import Emit, Note, Progress, Trained
from pipeline.files import DamagedError
from pipeline.fit import checkpoint, course, losses, optimizer, pace, problems, settings, tasks
from pipeline.fit.config import TENSORBOARD, FitConfig
from pipeline.fit.course import EVALUATION_BATCH, Feed
from pipeline.fit.curves import Curves
from pipeline.fit.execution import Execution
from pipeline.fit.optimizer import Rates
from pipeline.fit.random import Chance, controlled
from pipeline.fit.schedule import Watch, rates
from pipeline.fit.settings import Choice
from pipeline.legacy_keras import load as load_keras
from pipeline.own_code.objective import Objective
from pipeline.quality import of_model

if TYPE_CHECKING:
    from pipeline.data import DataConfig, Splits

METRICS = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")  # of a classification
STEP_PROGRESS_S = 2.0


@dataclass(frozen=True)
class History:
    """One value an epoch of each metric: losses, what Keras counts (`fit/tasks.py`), the rate of the last step.

    And, where it is another one, what the model is judged by, on the validation split.

    Attributes:
        best_epoch: the best on validation, counted from 1; with early stopping the model has this epoch's weights.
    """

    epochs: dict[str, list[float]]
    best_epoch: int

    def to_json(self) -> dict[str, Any]:
        """Return {"loss": [...], ..., "best_epoch": n}."""
        return {**self.epochs, "best_epoch": self.best_epoch}

    def at(self, epoch: int) -> dict[str, float]:
        """Return one epoch's metrics; epochs are counted from 1."""
        return {name: values[epoch - 1] for name, values in self.epochs.items()}


def fit(
    model: Any,
    splits: Splits,
    config: FitConfig,
    *,
    data: DataConfig,
    seed: int,
    stage: str,
    work: Path,
    emit: Emit,
    teaching: Teaching | None = None,
    callbacks: Iterable[Any] = (),
    objective: Objective | None = None,
    compute: Compute = Compute(),
) -> History:
    """Fit `model` in place, from its present weights or from the last whole checkpoint in `work`.

    Args:
        model: a Keras model, raw values in, what the spec's head wants out; it is compiled here.
        stage: whose progress is emitted.
        work: folder of the checkpoints and TensorBoard logs, of this fit alone.
        teaching: who teaches besides the labels, whose cross-entropy alone is what the history shows.
        callbacks: Keras callbacks, called before the loop's own; what they remember must be in the model's variables.
        objective: a loss and metrics of the user's own; the history has the metrics, as NAME and val_NAME.

    Raises:
        DivergedError: a loss is not finite; the last whole checkpoint is that of the epoch before.
        InputError: augmentation that is impossible for these inputs, several outputs, keys that are not for the
            task, the classes or a loss of the user's own, or a teacher whose layers do not match.
        DiskError: `work` cannot be written to.
    """
    head = tasks.only_head(splits.spec)
    steps = math.ceil(len(splits.train) / config.batch_size)
    loss, own = _own(objective, config, stage)
    loss = loss if loss is not None else losses.of(head, config, splits.train.y, stage=stage)
    learning = taught(model, teaching, head, losses.distance(config), stage=stage, seed=seed)
    divided = Division.of(len(splits.train), config.batch_size)
    with (
        controlled(model) as chance,
        divided.counted(model), learning, divided.among_replicas(model), precision.rewritten(),
    ):  # fmt: skip
        table = Rates(rates(config, steps))
        updates = precision.scaled(optimizer.make(config, table.schedule))
        watched = tasks.metric(head)
        # Keras asks for an epoch at once; the execution cuts it into calls of the graph
        model.compile(optimizer=updates, loss=loss, metrics=[watched, *own], steps_per_execution=steps)
        updates.build(model.trainable_variables)
        judged = f"val_{head.metric}"
        counted = [name.replace("accuracy", watched.name) for name in METRICS]
        shown = (f"{part}{one.name}" for one in own for part in ("", "val_"))
        names = tuple(dict.fromkeys((*counted, judged, *shown)))
        loop = Loop(model, config, chance, table, seed, stage, work / "checkpoints", emit, names)
        loop.judged, loop.worth = judged, head.criterion.worth
        loop.resume()
        if not loop.finished:
            feed = Feed(splits, config, data, divided, seed)
            loop.choice = course.choice(
                loop, feed, compute, compute.store or work, teachers=teaching.teachers if teaching else (), loss=loss
            )
            if judged not in counted:
                # of all its samples, also of anomalies, which the loss leaves out
                loop.judge = lambda: of_model(
                    splits.spec, splits.validation,
                    batches.predict(model, splits.validation.x, batch_size=EVALUATION_BATCH),
                )  # fmt: skip
            started = time.monotonic()
            course.follow(loop, feed, compute, callbacks)
            loop.close()
            speed = pace.of(
                loop.execution, loop.choice, examples=feed.examples, steps=steps,
                seconds=time.monotonic() - started, of=part_of_stage(work),
            )  # fmt: skip
            emit(Trained(stage, speed))
        if config.early_stopping:
            model.set_weights(loop.best)
    model.compile()  # lets go of the optimizer's slots, which would triple what a saved model weighs
    return loop.history()


def part_of_stage(work: Path) -> str:
    """Return what a fit of several in a stage is of: its folders below the stage's work, as control/round_1."""
    return "/".join(reversed(list(takewhile(lambda name: name != "work", reversed(work.parts)))))


def _own(objective: Objective | None, config: FitConfig, stage: str) -> tuple[Any | None, list[Any]]:
    """Return the loss, or None, and the metrics of the user's own.

    Raises:
        InputError: the section would change a loss that is the user's.
    """
    if objective is None:
        return None, []
    wrong = list(problems.beside_own_loss(stage, config)) if objective.loss else []
    if wrong:
        what, _, todo = wrong[0].partition(": ")
        raise InputError(what, expected="a loss of ours", found=f"the loss {objective.loss}", todo=todo)
    return objective.made()


class Loop:
    """What happens around Keras' epochs; all its state is in the checkpoint."""

    def __init__(
        self, model: Any, config: FitConfig, chance: Chance, table: Rates, seed: int, stage: str,
        folder: Path, emit: Emit, names: tuple[str, ...],
    ) -> None:  # fmt: skip
        self.model, self.config, self.chance, self.table = model, config, chance, table
        self.seed, self.stage, self.folder, self.emit = seed, stage, folder, emit
        self.steps = len(table.table) // config.epochs
        self.epoch = 0
        self.watch = Watch()
        self.names = names
        # the key of what the model is judged by, and of which more is better; what computes it where Keras does not
        self.judged = "val_accuracy"
        self.worth: Callable[[float], float] = float
        self.judge: Callable[[], float] | None = None
        self.metrics: dict[str, list[float]] = {name: [] for name in names}
        self.best: list[np.ndarray] = []
        # whether the checkpoint that the fit goes on from was made with XLA; None: there is none
        self.xla: bool | None = None
        self.choice: Choice
        self.execution: Execution
        self._restore: Callable[[], None] | None = None
        self._curves: Curves | None = None
        self._told = time.monotonic()

    @property
    def finished(self) -> bool:
        return self.watch.stop or self.epoch >= self.config.epochs

    def history(self) -> History:
        return History(self.metrics, self.watch.best_epoch)

    def close(self) -> None:
        if self._curves:
            self._curves.close()

    def resume(self) -> None:
        """Take up the newest whole checkpoint of this model that all workers have; says so, and which it could not."""
        found = agreement.common(checkpoint.epochs(self.folder))
        for epoch, before in zip_longest(found, found[1:]):
            stored, damaged = None, ""
            try:
                stored = self._fitting(checkpoint.load(self.folder, epoch))
            except DamagedError as error:
                damaged = str(error)
            damaged = agreement.problem(damaged)
            if stored is None or damaged:
                instead = f"falling back to the one after epoch {before}" if before else "training starts anew"
                text = f"the checkpoint after epoch {epoch} cannot be used ({damaged}): {instead}"
                self.emit(Note(self.stage, text, level="warning"))
            else:
                self._take_up(stored)
                self.emit(Note(self.stage, f"goes on after epoch {epoch} of {self.config.epochs}, from its checkpoint"))
                return

    def _fitting(self, stored: checkpoint.Checkpoint) -> checkpoint.Checkpoint:
        fits = all(
            [array.shape for array in stored.groups.get(name, ())] == [tuple(variable.shape) for variable in wanted]
            for name, wanted in (
                ("weights", self.model.weights),
                ("optimizer", precision.variables(self.model.optimizer)),
            )
        )
        if not fits:
            raise DamagedError("it is of another model")
        return stored

    def _take_up(self, stored: checkpoint.Checkpoint) -> None:
        groups, facts = stored.groups, stored.facts
        self.model.set_weights(groups["weights"])
        for variable, array in zip(precision.variables(self.model.optimizer), groups["optimizer"], strict=True):
            variable.assign(array)
        self.best = groups["best"] or groups["weights"]
        self.epoch, self.watch, self.metrics = stored.epoch, Watch(**facts["watch"]), facts["metrics"]
        self.xla = facts["xla"]

    def as_callback(self) -> Any:
        return load_keras().callbacks.LambdaCallback(on_epoch_begin=self._begin, on_epoch_end=self._end)

    def _begin(self, epoch: int, _logs: Any) -> None:
        if epoch == 0 and self.choice.open:
            self._restore = settings.snapshot(self.model)
        self.chance.begin_epoch(self.seed, epoch)
        if self.chance.opaque:
            self.execution.retrace()
        self.table.scale(self.watch.lr_factor)

    def begin(self, execution: Execution, wanted: int | Literal["auto"], profile: Path | None) -> None:
        """Have the steps carried out by `execution`, traced already or not; a trial's starts where the fit does."""
        if self._restore:
            self._restore()
            self._restore = None
        execution.take_over(wanted, self.step, profile)
        self.execution = execution

    def again(self, draw: int = 0) -> None:
        """Set the model, its optimizer and its chance back to the beginning of the first epoch.

        Args:
            draw: another number has dropout and the like draw otherwise.
        """
        assert self._restore, "no epoch has begun"
        self._restore()
        self.chance.begin_epoch(self.seed, draw)

    def step(self, first: int, last: int, logs: Mapping[str, float]) -> None:
        """Look at what some steps have come to; Keras gives the epoch's mean so far, finite as long as every loss was.

        Args:
            first, last: steps of the epoch, counted from 1.
        """
        if not math.isfinite(logs["loss"]):
            which = f"step {last}" if first == last else f"by step {last}"
            self._diverged(f"in epoch {self.epoch + 1}, {which} of {self.steps}", logs["loss"])
        self.choice.consider(self.execution, self.steps - last, len(self.table.table))
        if not self.choice.open:
            self._restore = None  # as much memory as the weights and the optimizer take
        now = time.monotonic()
        if now - self._told > STEP_PROGRESS_S:
            self._told = now
            self.emit(Progress(self.stage, "step", last, self.steps, dict(logs)))

    def _end(self, _epoch: int, logs: dict[str, float]) -> None:
        latest = {name: float(logs[name]) for name in self.names if name in logs}
        latest["learning_rate"] = self.table.at((self.epoch + 1) * self.steps - 1, self.watch.lr_factor)
        if self.judge and math.isfinite(latest["val_loss"]):
            latest[self.judged] = agreement.of_first(self.judge())
        if not math.isfinite(latest["val_loss"]):
            self._diverged(f"on the validation split after epoch {self.epoch + 1}", latest["val_loss"])
        self.epoch += 1
        for name in self.names:
            self.metrics[name].append(latest[name])
        worth = self.worth(latest[self.judged])
        self.watch = self.watch.after(self.epoch, latest | {"val_accuracy": worth}, self.config)
        weights = self.model.get_weights()
        if self.watch.best_epoch in (0, self.epoch):
            self.best = weights
        checkpoint.save(
            self.folder,
            self.epoch,
            {
                "weights": weights,
                "optimizer": [variable.numpy() for variable in precision.variables(self.model.optimizer)],
                "best": self.best if self.config.early_stopping and self.best is not weights else [],
            },
            {"watch": asdict(self.watch), "metrics": self.metrics, "xla": self.execution.xla},
        )
        if self.config.tensorboard:
            self._curves = self._curves or Curves(self.folder.parent / TENSORBOARD)
            self._curves.write(self.epoch, latest)
        self.model.stop_training = self.finished
        self._told = time.monotonic()
        self.emit(Progress(self.stage, "epoch", self.epoch, self.config.epochs, latest))

    def _diverged(self, where: str, value: float) -> None:
        before = f"; the epoch before it ended with {self.metrics['loss'][-1]:.4g}" if self.metrics["loss"] else ""
        raise DivergedError(
            f"{self.stage}: the loss is not finite {where}",
            expected="a finite number",
            found=f"{value}{before}",
            todo=f"lower {self.stage}.optimizer.learning_rate (now {self.config.optimizer.learning_rate:g}), or set "
            f"{self.stage}.clip or {self.stage}.schedule.warmup_epochs",
        )
