"""The settings of a fit's steps: those that the recipe names, those of an earlier trial, or of one made for this fit.

A trial costs seconds, so a fit begins with the plain settings, and only where its first steps say that it will take
long is it stopped, set back to its start, and tried what is fastest. Short fits pay nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline import machine
from pipeline.compute import precision
from pipeline.compute.config import Compute
from pipeline.data import batches
from pipeline.events import Emit, Note
from pipeline.fit import trial
from pipeline.fit.execution import Execution
from pipeline.fit.trial import Bench, Outcome, Settings
from pipeline.predictor import in_memory

if TYPE_CHECKING:
    from pipeline.data import DataConfig
    from pipeline.data.divide import Split

_TIMED_STEPS, _TIMED_S = 20, 0.5  # what an estimate of a fit's length rests on, whichever comes first


class WorthTrying(Exception):  # noqa: N818 - no error: it leaves Keras' loop
    """A fit has begun that will take long enough for a trial."""


class Choice:
    """Which settings a fit has, and why.

    Attributes:
        why: in words.
        outcome: of the trial that chose them; None: no trial did.
        open: whether the fit's first steps are still to say if a trial is worth it.
    """

    def __init__(
        self, compute: Compute, root: Path, key: str, feedings: tuple[batches.Feeding, ...], *,
        before: bool | None, untried: str,
    ) -> None:  # fmt: skip
        """Take the settings that are known before the first step.

        Args:
            root: where outcomes of trials are kept.
            key: this fit's among them.
            feedings: the ways to make batches that this machine has memory for now, the usual one first.
            before: whether the checkpoint that the fit goes on from was made with XLA; None: it starts anew.
            untried: why no trial can be made; empty: it can.
        """
        asked = compute.performance
        self.budget_s, self.key, self._root, self._feedings = asked.budget_s, key, root, feedings
        self.outcome: Outcome | None = None
        self.open = False
        self.settings = Settings(xla=asked.xla == "on")
        self.why = "as the recipe says (performance.xla)"
        if asked.xla != "auto":
            return
        self.outcome = None if untried else trial.kept(root, key)
        if self.outcome is not None and before in (None, self.outcome.settings.xla):
            self._take(self.outcome)
        elif before is not None:
            self.outcome, self.settings = None, Settings(xla=before)
            self.why = "as the fit began, which goes on from its checkpoint"
        elif untried:
            self.why = f"no settings were tried: {untried}"
        else:
            self.open, self.why = True, "no settings were tried: too few steps an epoch to foresee how long it takes"

    def consider(self, execution: Execution, left: int, total: int) -> None:
        """Look at the fit's first steps, until it is clear how long it will take.

        Args:
            left: steps of the first epoch that are still to come.
            total: steps of the whole fit.

        Raises:
            WorthTrying: long enough for a trial.
        """
        if not self.open:
            return
        if left and execution.steps < _TIMED_STEPS and execution.seconds < _TIMED_S:
            return
        # after the first epoch there is a checkpoint, and nothing is begun anew
        self.open = False
        if not execution.steps:
            return
        needed = execution.seconds / execution.steps * total
        if needed >= trial.WORTH_TRYING * self.budget_s:
            raise WorthTrying
        self.why = f"too short to try settings: about {needed:.{0 if needed >= 10 else 1}f} s"

    def choose(self, bench: Bench, *, stage: str, emit: Emit) -> Execution | None:
        """Make the trial, or take the one that another process has made meanwhile; return the winner's execution."""
        text = f"this takes long enough to try settings of its steps, for about {self.budget_s:g} s"
        emit(Note(stage, f"{text} (performance.budget_s)"))
        self.outcome = trial.keep(
            self._root, self.key, lambda: trial.run(bench, self._feedings, key=self.key, budget_s=self.budget_s)
        )
        self._take(self.outcome)
        return bench.made.get(self.settings.xla)

    def _take(self, outcome: Outcome) -> None:
        """Have the settings of a trial, which was perhaps made when more memory was free."""
        self.settings, self.why = outcome.settings, f"by the trial {self.key[:8]}: {outcome.why}"
        if self.settings.feeding not in self._feedings:
            self.why += f"; but {self.settings.feeding} would take too much of the memory that is free now"
            self.settings = replace(self.settings, feeding=self._feedings[0])


def untried(*, opaque: bool) -> str:
    """Return why a fit can have no trial; empty: it can.

    Args:
        opaque: whether the model has layers that draw in ways of their own.
    """
    import tensorflow as tf

    if tf.distribute.get_strategy().num_replicas_in_sync > 1:
        return "several replicas would have to agree"
    if precision.mixed():
        return "mixed precision rewrites the graph that XLA would compile"
    return "layers of the model draw in ways of their own, which no trial can repeat" if opaque else ""


def basis(
    model: Any, teachers: Any, part: Split, data: DataConfig, *, batch_size: int, optimizer: Any, loss: Any, dtype: str
) -> dict[str, Any]:
    """Return what the speed of a fit's steps depends on."""
    import tensorflow as tf

    return {
        "model": trial.anatomy(model),
        "teachers": [trial.anatomy(teacher) for teacher in teachers],
        "batch_size": batch_size,
        "optimizer": type(optimizer).__name__,
        "loss": getattr(loss, "__qualname__", type(loss).__name__),
        "dtype": dtype,
        "data": {"cache": data.cache, "prefetch": data.prefetch, "augment": data.augment is not None},
        "in_memory": in_memory(part.x),
        "bytes": batches.size(part),
        "devices": sorted(device.device_type for device in tf.config.list_logical_devices()),
        "replicas": tf.distribute.get_strategy().num_replicas_in_sync,
        "machine": {"cpu": machine.cpu(), "cores": machine.cores()},
        "versions": machine.versions(("tensorflow", "tf_keras")),
    }


def feedings(part: Split, data: DataConfig) -> tuple[batches.Feeding, ...]:
    """Return the ways to make batches that are worth a trial on this machine, the usual one first."""
    import psutil

    return batches.feedings(part, data, psutil.virtual_memory().available)


def snapshot(model: Any) -> Callable[[], None]:
    """Return what sets a compiled model and its optimizer back to how they are now."""
    variables = [*model.weights, *model.optimizer.variables]
    values = [np.array(variable.numpy()) for variable in variables]

    def restore() -> None:
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)

    return restore
