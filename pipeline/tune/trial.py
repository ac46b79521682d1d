"""One trial: a run of the recipe with the values that it got, into a folder of its own, through the shared store."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from pipeline.errors import BusyError, DiskError, MissingError, ModelmillError, StoppedError
from pipeline.events import Emit, Event, Note, Progress, StageFinished, StageReused, StageStarted
from pipeline.run_folder import RunFolder
from pipeline.tune import space as spaces

if TYPE_CHECKING:
    from optuna.trial import Trial

    from pipeline.recipe import Recipe
    from pipeline.report.document import Report
    from pipeline.tune.objectives import Aim

# attributes of a trial in the study
PROCESS, ENDED, REASON = "process", "ended", "reason"
# what `fine_tune.compare` says before it fits the same once more: those epochs are of another model
COMPARES = "now the same without"

# runs a recipe until a stage, into a folder, and gives every event to a function
Go = Callable[["Recipe", RunFolder, str, Emit], "Report"]


class PrunedError(StoppedError):
    """The pruner ended a trial: others were better at the same epoch."""


class TrialFailedError(Exception):
    """A trial that has failed, with its reason; the study goes on."""


@dataclass
class Watch:
    """Follows a trial's run: which stages it reused, and whether to stop it early.

    Args:
        stage: whose epochs are reported to the pruner; None: none are.
        key: of what they are judged by, in a stage's metrics.
        warmup: epochs after which it may be stopped at the earliest.
        guard: holds while the study is spoken to.
    """

    trial: Trial
    stage: str | None
    key: str
    warmup: int
    guard: Callable[[], AbstractContextManager[None]]
    stages: dict[str, dict[str, Any]] = field(default_factory=dict)
    _told: int = 0
    _deaf: bool = False

    def see(self, event: Event) -> None:
        """Take one event of the run.

        Raises:
            PrunedError: the trial is not worth going on with; what it has made is kept, as after an interruption.
        """
        match event:
            case StageReused(stage):
                self.stages[stage] = {"status": "reused", "seconds": 0.0}
            case StageStarted(stage):
                self.stages[stage] = {"status": "unfinished", "seconds": time.monotonic()}
            case StageFinished(stage, seconds):
                self.stages[stage] = {"status": "run", "seconds": seconds}
            case Note(stage, text) if stage == self.stage and text.startswith(COMPARES):
                self._deaf = True
            case Progress(stage, "epoch", done, _, metrics) if stage == self.stage:
                self._epoch(done, metrics)

    def _epoch(self, done: int, metrics: Mapping[str, float]) -> None:
        # a stage that fits several models begins again with epoch 1: only the first can be compared
        self._deaf = self._deaf or done <= self._told
        if self._deaf or self.key not in metrics:
            return
        self._told = done
        with self.guard():
            self.trial.report(metrics[self.key], done)
            stop = done > self.warmup and self.trial.should_prune()
        if stop:
            raise PrunedError(f"stopped early, after epoch {done} of {self.stage}", found="others were better by then")

    def ended(self) -> dict[str, dict[str, Any]]:
        """Return stage -> {"status": run, reused or unfinished, "seconds"}; the trial has ended."""
        now = time.monotonic()
        return {
            stage: {"status": one["status"], "seconds": round(now - one["seconds"], 3)}
            if one["status"] == "unfinished"
            else one
            for stage, one in self.stages.items()
        }


def process() -> dict[str, Any]:
    """Return which process this is: on which machine since its last start, and since when."""
    me = psutil.Process()
    return {"host": socket.gethostname(), "boot": _boot(), "pid": me.pid, "started": me.create_time()}


def is_gone(known: Mapping[str, Any] | None) -> bool:
    """Return whether a process of this machine no longer runs; False of what is elsewhere or unknown."""
    if known is None or (known["host"], known["boot"]) != (socket.gethostname(), _boot()):
        return False
    try:
        return bool(abs(psutil.Process(known["pid"]).create_time() - known["started"]) > 1)
    except psutil.NoSuchProcess:
        return True


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return str(int(psutil.boot_time()))


def ends_the_study(error: ModelmillError) -> bool:
    """Return whether an error is none of the trial's values: stopped, no room, something missing, or of the moment."""
    return error.transient or isinstance(error, (StoppedError, DiskError, MissingError, BusyError))


def run(
    trial: Trial, recipe: Recipe, aim: Aim, watch: Watch, out: Path, go: Go,
    parameters: Mapping[str, Any],
) -> list[float]:  # fmt: skip
    """Run one trial and return its values, one for each objective.

    Args:
        recipe: of the search, as `objectives.of_trial` makes it.
        out: folder of the search.
        parameters: the trial's values.

    Raises:
        TrialFailedError: the run failed of these values; the study has the reason.
        optuna.TrialPruned: it was stopped early.
        ModelmillError: something that would fail every trial, or that the user stopped.
    """
    import optuna

    folder = RunFolder(out / f"trial-{trial.number}")
    started, kept = time.monotonic(), False
    try:
        chosen = spaces.changed(recipe.model_dump(mode="json"), parameters, recipe.name)
        report = go(chosen, folder, aim.until, watch.see)
        values = aim.values(chosen, report)
        for one in report.stages:
            if one.name in watch.stages and one.seconds is not None:
                watch.stages[one.name]["seconds"] = one.seconds
        kept = True
        return values
    except PrunedError as error:
        kept = True
        with watch.guard():
            trial.set_user_attr(REASON, error.what)
        raise optuna.TrialPruned from None
    except ModelmillError as error:
        if ends_the_study(error):
            raise
        kept = True
        with watch.guard():
            trial.set_user_attr(REASON, str(error))
        raise TrialFailedError(str(error)) from error
    finally:
        if kept:
            with watch.guard():
                ended = {"stages": watch.ended(), "seconds": round(time.monotonic() - started, 3)}
                trial.set_user_attr(ENDED, ended)
