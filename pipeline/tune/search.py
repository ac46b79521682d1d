"""The search: asks the study for trials until there are enough, and takes up those whose process is gone."""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, Trial, TrialState

from pipeline.errors import ModelmillError
from pipeline.fit.config import FitConfig
from pipeline.recipe import Recipe
from pipeline.tune import identity, objectives, storage, trial
from pipeline.tune import space as spaces
from pipeline.tune.config import Config, Range

if TYPE_CHECKING:
    from optuna import Study
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


@dataclass(frozen=True)
class Search:
    """A study and everything that its trials need.

    Attributes:
        recipe: of the trials, before their values.
        stage: whose epochs are compared, None where no trial is stopped early.
        notes: what a reader should know.
    """

    study: Study
    whole: Recipe
    recipe: Recipe
    config: Config
    space: spaces.Space
    aim: objectives.Aim
    stage: str | None
    url: str
    notes: tuple[str, ...]

    def guard(self) -> AbstractContextManager[None]:
        """Return what translates the errors of the storage."""
        return storage.told(self.url)

    def trials(self) -> list[FrozenTrial]:
        """Return all trials of the study, in their order."""
        with self.guard():
            return self.study.get_trials(deepcopy=False)

    def finished(self) -> list[FrozenTrial]:
        """Return the trials that count: those that have ended, but not by an interruption."""
        return [one for one in self.trials() if one.state in FINISHED and not interrupted(one)]

    def running(self) -> list[FrozenTrial]:
        """Return the trials that somebody is at, here or elsewhere."""
        return [one for one in self.trials() if one.state == TrialState.RUNNING]

    def best(self) -> list[FrozenTrial]:
        """Return the best trial, of several objectives the Pareto trials, the best by the first objective first."""
        done = [one for one in self.trials() if one.state == TrialState.COMPLETE]
        worth = {one.number: self.worth(one) for one in done}
        front = [one for one in done if not any(_dominates(worth[other.number], worth[one.number]) for other in done)]
        # equal ones: the earlier
        front.sort(key=lambda one: (tuple(-value for value in worth[one.number]), one.number))
        if len(self.aim.objectives) == 1:
            return front[:1]
        seen: dict[tuple[float, ...], FrozenTrial] = {}
        for one in front:
            seen.setdefault(worth[one.number], one)
        return list(seen.values())

    def worth(self, one: FrozenTrial) -> tuple[float, ...]:
        """Return a trial's values so that of each more is better."""
        ways = self.aim.directions()
        return tuple(value if way == "maximize" else -value for value, way in zip(one.values, ways, strict=True))

    def parameters(self, one: FrozenTrial) -> dict[str, Any]:
        """Return the recipe's keys that a trial changed, with their values."""
        return {key: spaces.decoded(self.space[key], value) for key, value in one.params.items() if key in self.space}

    def exhausted(self) -> bool:
        """Return whether a grid has no point left to try."""
        sampler = self.study.sampler
        if not isinstance(sampler, optuna.samplers.GridSampler):
            return False
        if any(one.state == TrialState.WAITING for one in self.trials()):
            return False  # an interrupted one, whose point counts as visited
        with self.guard():
            return sampler.is_exhausted(self.study)

    def points(self) -> int | None:
        """Return of how many points a grid consists; None where the sampler is none."""
        if self.config.sampler != "grid":
            return None
        return math.prod(len(values) for values in spaces.grid(self.space).values())


def _dominates(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(mine >= theirs for mine, theirs in zip(one, other, strict=True))


def interrupted(one: FrozenTrial) -> bool:
    """Return whether a trial ended without being at fault: every other failed one has a reason."""
    return one.state == TrialState.FAIL and trial.REASON not in one.user_attrs


def begin(recipe: Recipe, url: str, name: str) -> Search:
    """Open the study, or begin it, and return the search.

    Raises:
        InputError: recipe and space do not fit, or the study is of another search.
        ModelmillError: the storage cannot be used.
    """
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)  # what it says, the trials' reasons say better
    config, space, aim = recipe.tune or Config(), spaces.of(recipe), objectives.aim(recipe)
    spaces.require_possible(recipe, space)
    mine = identity.of(recipe, space, aim)
    stage = spaces.last_stage(recipe, space) if config.pruner != "none" else None
    kept = storage.opened(url)
    with storage.told(url):
        study = optuna.create_study(
            storage=kept, study_name=name, directions=aim.directions(), load_if_exists=True,
            sampler=_sampler(config, space, recipe.seed), pruner=_pruner(config, recipe, space, stage),
        )  # fmt: skip
        notes = identity.claim(study, mine)
    of_trial = objectives.of_trial(recipe, aim)
    return Search(study, recipe, of_trial, config, space, aim, stage, url, tuple(notes))


def _sampler(config: Config, space: spaces.Space, seed: int) -> BaseSampler:
    match config.sampler:
        case "grid":  # all processes shuffle it alike
            return optuna.samplers.GridSampler(spaces.grid(space), seed=seed)
        case "random":
            return optuna.samplers.RandomSampler(seed=seed)
        case "tpe":
            return optuna.samplers.TPESampler(seed=seed, n_startup_trials=config.startup_trials)


def _pruner(config: Config, recipe: Recipe, space: spaces.Space, stage: str | None) -> BasePruner:
    if config.pruner == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=config.startup_trials)
    if config.pruner == "hyperband":
        return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=_epochs(recipe, space, stage))
    return optuna.pruners.NopPruner()


def _epochs(recipe: Recipe, space: spaces.Space, stage: str | None) -> int:
    """Return the most epochs that a trial can have in the stage that is compared."""
    section = getattr(recipe, stage) if stage else None
    entry = space.get(f"{stage}.epochs")
    if isinstance(entry, Range):
        return int(entry.high)
    return int(max(entry)) if entry else section.epochs if isinstance(section, FitConfig) else 1


def take_up(search: Search) -> list[int]:
    """Enqueue the trials again whose process is gone, and return their numbers.

    Those of this machine at once; those of other machines when they have not been heard of for a while.
    """
    study, found = search.study, []
    with search.guard():
        for one in search.running():
            if trial.is_gone(one.user_attrs.get(trial.PROCESS)):
                try:
                    study.tell(one.number, state=TrialState.FAIL)
                except (UpdateFinishedTrialError, ValueError):
                    continue  # another process was quicker
                _enqueue(study, one.number)
                found.append(one.number)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            optuna.storages.fail_stale_trials(study)
    return found


def _is_of(one: FrozenTrial, process: dict[str, Any]) -> bool:
    known: dict[str, Any] = one.user_attrs.get(trial.PROCESS, {})
    return process.items() <= known.items()


def _enqueue(study: Study, number: int) -> None:
    storage.again()(study, study.get_trials(deepcopy=True)[number])


def go_on(
    search: Search, wanted: int, out: Path, go: trial.Go, *, begun: Callable[[int, dict[str, Any], Path], None],
    ended: Callable[[FrozenTrial], None], taken: Callable[[list[int]], None],
) -> None:  # fmt: skip
    """Run trials until the study has as many as wanted, counting those that others are at.

    Args:
        out: where the trials' folders go.
        go: runs a recipe.
        begun: is told of a trial: its number, values and folder.
        ended: is told of a trial that has ended.
        taken: is told which interrupted trials are run again.

    Raises:
        ModelmillError: what ends the study: stopped, a full disk, something missing. The trial is enqueued again.
    """
    here = trial.process()

    def objective(one: Trial) -> list[float]:
        with search.guard():
            one.set_user_attr(trial.PROCESS, here | {"folder": str(out / f"trial-{one.number}")})
            if search.config.sampler != "grid":
                # a function of the trial's number, however often the search was interrupted and whoever else is at it
                seed = random.Random(f"{search.whole.seed} {one.number}").randrange(2**31)
                search.study.sampler = _sampler(search.config, search.space, seed)
            parameters = spaces.suggest(one, search.space)
        begun(one.number, parameters, out / f"trial-{one.number}")
        watch = trial.Watch(one, search.stage, search.aim.key, search.config.warmup_epochs, search.guard)
        return trial.run(one, search.recipe, search.aim, watch, out, go, parameters)

    while True:
        if again := take_up(search):
            taken(again)
        if len(search.finished()) + len(search.running()) >= wanted or search.exhausted():
            return
        before = {one.number for one in search.trials() if one.state in FINISHED}
        try:
            with search.guard():
                search.study.optimize(objective, n_trials=1, catch=(trial.TrialFailedError,))
        except UpdateFinishedTrialError:
            continue  # it was given to another process, as this one was not heard of: asleep, or cut off
        except (ModelmillError, KeyboardInterrupt):
            with search.guard():
                for one in search.trials():
                    if interrupted(one) and one.number not in before and _is_of(one, here):
                        _enqueue(search.study, one.number)
            raise
        for one in search.trials():
            if one.number not in before and one.state in FINISHED and _is_of(one, here):
                ended(one)
