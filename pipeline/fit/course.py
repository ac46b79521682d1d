"""The course of a fit: Keras' own loop, and that once more where its first steps say that a trial is worth it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.compute.config import Compute
from pipeline.compute.division import Division
from pipeline.data import batches
from pipeline.data.batches import ENDLESS, Feeding
from pipeline.fit import settings, trial
from pipeline.fit.config import FitConfig
from pipeline.fit.execution import Execution
from pipeline.fit.settings import Choice, WorthTrying
from pipeline.fit.trial import Bench

if TYPE_CHECKING:
    from pipeline.data import DataConfig, Splits
    from pipeline.fit.loop import Loop

EVALUATION_BATCH = 256


class Feed:
    """The batches of a fit and of its validation, as the devices take them.

    Attributes:
        steps: of an epoch.
        examples: in a step, on average.
    """

    def __init__(self, splits: Splits, config: FitConfig, data: DataConfig, divided: Division, seed: int) -> None:
        self.splits, self.config, self.data, self.divided, self.seed = splits, config, data, divided, seed
        self.steps = math.ceil(len(splits.train) / config.batch_size)
        self.examples = len(splits.train) / self.steps
        self._samples = len(batches.evaluated(splits.validation, splits.spec))
        self._evaluated = divided.evaluation_batch(self._samples, max(config.batch_size, EVALUATION_BATCH))

    @property
    def validation_steps(self) -> int | None:
        """Steps of a validation; None: until the batches end."""
        return self.divided.steps(self._samples, self._evaluated)

    def validation(self) -> Any:
        """Return the validation split's batches."""
        return self.divided.batches(
            lambda parts: batches.evaluation(
                self.splits.validation, self.splits.spec, self.data, batch_size=self._evaluated, parts=parts
            )
        )

    def training(self, feeding: Feeding, first_epoch: int, last_epoch: int) -> Any:
        """Return the batches of epochs; `feeding` changes nothing of what is in them."""
        return self.divided.batches(
            lambda parts: batches.training(
                self.splits.train, self.splits.spec, self.data, batch_size=self.config.batch_size, seed=self.seed,
                first_epoch=first_epoch, last_epoch=last_epoch, parts=parts, feeding=feeding,
            )
        )  # fmt: skip


def choice(loop: Loop, feed: Feed, compute: Compute, root: Path, *, teachers: Any, loss: Any) -> Choice:
    """Return what is known of the settings before the first step.

    Args:
        root: where outcomes of trials are kept.
    """
    part, data = feed.splits.train, feed.data
    basis = settings.basis(
        loop.model, teachers, part, data, batch_size=feed.config.batch_size, optimizer=loop.model.optimizer, loss=loss,
        dtype=compute.mixed_precision,
    )  # fmt: skip
    return Choice(
        compute, root, trial.key(basis), settings.feedings(part, data),
        before=loop.xla, untried=settings.untried(opaque=loop.chance.opaque),
    )  # fmt: skip


def follow(loop: Loop, feed: Feed, compute: Compute, callbacks: Iterable[Any]) -> None:
    """Have Keras fit the compiled model from the loop's epoch on, with the settings of its choice."""
    chosen, wanted, validation = loop.choice, compute.performance.steps_per_execution, feed.validation()
    callbacks = [*callbacks]

    def go(execution: Execution) -> None:
        loop.begin(execution, wanted, compute.profile)
        loop.model.fit(
            feed.training(chosen.settings.feeding, loop.epoch, loop.config.epochs),
            validation_data=validation,
            validation_steps=feed.validation_steps,
            epochs=loop.config.epochs,
            initial_epoch=loop.epoch,
            steps_per_epoch=feed.steps,
            verbose=0,
            callbacks=[*callbacks, loop.as_callback()],
        )

    def untraced() -> Execution:
        return Execution(loop.model, wanted=wanted, told=loop.step, xla=chosen.settings.xla)

    try:
        go(untraced())
    except WorthTrying:
        bench = Bench(
            loop.model, lambda tried: feed.training(tried.feeding, loop.epoch, ENDLESS), loop.again,
            loop.chance.drawn, feed.examples,
        )  # fmt: skip
        go(chosen.choose(bench, stage=loop.stage, emit=loop.emit) or untraced())
    finally:
        loop.execution.leave()
