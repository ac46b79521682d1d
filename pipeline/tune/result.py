"""What a search has come to: tune.json, tune.html, and the best recipe as a file that runs by itself."""

from __future__ import annotations

import importlib.metadata
import warnings
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from pipeline import machine
from pipeline.errors import InputError
from pipeline.lock import Lock
from pipeline.recipe import Recipe, dump, risks
from pipeline.report import tuning as document
from pipeline.report.tuning import Tuning
from pipeline.run import STAGES
from pipeline.tune import space as spaces
from pipeline.tune import storage, trial
from pipeline.tune.search import Search, interrupted

BEST, PARETO, LOCK = "best.yaml", "pareto", ".tune.lock"
# with fewer trials fANOVA's trees find whatever chance put there
FEWEST_FOR_IMPORTANCE = 8
_MOST_OF_A_NAME = 80
_MOODS = (
    "The trials' latencies were measured one after another, not in turns: differences of some per cent may be the "
    "machine's, and processes that search at once on one machine disturb each other."
)
_STATES: dict[TrialState, document.State] = {
    TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed",
    TrialState.RUNNING: "running", TrialState.WAITING: "waiting",
}  # fmt: skip


def require_own(search: Search, out: Path) -> None:
    """Refuse a folder that holds the result of another study.

    Raises:
        InputError: it does.
    """
    try:
        known = document.read(out)
    except (OSError, ValueError):
        return  # there is none, or none that anybody could lose
    mine = search.study.study_name, storage.shown(search.url)
    if (known.study, known.storage) != mine:
        raise InputError(
            f"{out} holds the result of another study",
            expected=f"{mine[0]} in {mine[1]}",
            found=f"{known.study} in {known.storage}",
            todo="choose another --out, or name that --storage and --study",
        )


def publish(search: Search, wanted: int, out: Path, notes: tuple[str, ...] = (), *, ended: bool = False) -> Tuning:
    """Write what the study holds by now, each file at once; several processes may share the folder.

    Args:
        ended: the command is about to end: what takes a while is computed, too.
    """
    with Lock(out / LOCK) as lock:
        lock.own(lambda: None)  # what is read is written before anybody reads again: nothing older replaces it
        best = search.best()
        found = _document(search, wanted, best, notes, ended=ended)
        if best:
            document.write_text(out / BEST, recipe_text(search, best[0], "best"))
        _write_pareto(search, best, out)
        document.write(found, out)
    return found


def recipe_text(search: Search, one: FrozenTrial, suffix: str) -> str:
    """Return the whole recipe with a trial's values, as YAML."""
    whole = search.whole
    parameters = search.parameters(one)
    values = ", ".join(
        f"{name.noun} {name.written(value)}" for name, value in zip(_objectives(search), one.values, strict=True)
    )
    document_ = whole.model_dump(mode="json") | {"tune": None, "name": f"{whole.name[:_MOST_OF_A_NAME]}-{suffix}"}
    chosen: Recipe = spaces.changed(document_, parameters, whole.name)
    trust = " --trust" if risks(chosen.model_dump(mode="json")) else ""
    head = (
        f"# {whole.name} with the values of trial {one.number} of `modelmill tune` ({values}).\n"
        f"# Run it: modelmill run THIS_FILE{trust}\n"
        + "".join(f"#   {key}: {document.value(value)}\n" for key, value in parameters.items())
    )
    return head + dump(chosen)


def _write_pareto(search: Search, best: list[FrozenTrial], out: Path) -> None:
    folder = out / PARETO
    wanted = {f"{one.number}.yaml": one for one in best} if len(search.aim.objectives) > 1 else {}
    if wanted:
        folder.mkdir(exist_ok=True)
    for name, one in wanted.items():
        document.write_text(folder / name, recipe_text(search, one, f"trial-{one.number}"))
    for path in folder.glob("*.yaml"):
        if path.name not in wanted:
            path.unlink(missing_ok=True)


def _objectives(search: Search) -> list[document.Objective]:
    units = {"latency": "ms", "size": "bytes"}
    return [
        document.Objective.model_validate(
            {"name": name, "direction": way, "unit": units.get(name)}
            | ({"metric": search.aim.metric.name} if name == "quality" else {})
        )
        for name, way in zip(search.aim.objectives, search.aim.directions(), strict=True)
    ]


def _document(
    search: Search, wanted: int, best: list[FrozenTrial], notes: tuple[str, ...], *, ended: bool
) -> Tuning:  # fmt: skip
    importance, unimportant = _importance(search) if ended else (None, "It is computed when the command ends.")
    libraries = dict.fromkeys(library for stage in STAGES for library in stage.LIBRARIES)
    several = len(search.aim.objectives) > 1
    first = search.aim.objectives[0]
    return Tuning(
        modelmill=importlib.metadata.version("modelmill"),
        recipe=search.whole.name,
        seed=search.whole.seed,
        study=search.study.study_name,
        storage=storage.shown(search.url),
        sampler=search.config.sampler,
        pruner=search.config.pruner,
        wanted=wanted,
        objectives=_objectives(search),
        artifact=search.aim.artifact.id if search.aim.artifact else None,
        runtime=search.aim.runtime if "latency" in search.aim.objectives else None,
        space={
            key: list(entry) if isinstance(entry, tuple) else entry.model_dump() for key, entry in search.space.items()
        },
        trials=[_trial(search, one) for one in search.trials()],
        best=best[0].number if best else None,
        pareto=[one.number for one in best] if several else [],
        rule=f"of the Pareto trials the one that is best by {first}, of equal ones by the objectives after it"
        if several
        else "the best value; of equal ones the earliest",
        importance=importance,
        unimportant=unimportant,
        notes=[*search.notes, *notes, *([_MOODS] if "latency" in search.aim.objectives else [])],
        settings=search.whole.model_dump(mode="json"),
        machine=machine.describe(libraries),
    )


def _trial(search: Search, one: FrozenTrial) -> document.Trial:
    known = one.user_attrs
    process = known.get(trial.PROCESS) or {}
    values = dict(zip(search.aim.objectives, one.values, strict=True)) if one.state == TrialState.COMPLETE else None
    return document.Trial.model_validate(
        {
            "number": one.number,
            "state": "interrupted" if interrupted(one) else _STATES[one.state],
            "params": search.parameters(one),
            "values": values,
            **known.get(trial.ENDED, {}),
            "reason": known.get(trial.REASON, ""),
            "folder": process.get("folder"),
            "host": process.get("host"),
        }
    )


def _importance(search: Search) -> tuple[dict[str, dict[str, float]] | None, str]:
    """Return objective -> key -> share, or why that cannot be told."""
    done = [one for one in search.trials() if one.state == TrialState.COMPLETE]
    if len(done) < FEWEST_FOR_IMPORTANCE:
        return None, f"It takes {FEWEST_FOR_IMPORTANCE} complete trials to tell; there are {len(done)}."
    found: dict[str, dict[str, float]] = {}
    for place, name in enumerate(search.aim.objectives):
        if len({one.values[place] for one in done}) < 2:
            continue
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=search.whole.seed)

        def value(one: FrozenTrial, place: int = place) -> float:
            return float(one.values[place])

        with search.guard(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            shares: dict[str, Any] = optuna.importance.get_param_importances(
                search.study, evaluator=evaluator, target=value
            )
        found[name] = {key: round(float(share), 4) for key, share in shares.items()}
    return (found, "") if found else (None, "All trials came to the same values.")
