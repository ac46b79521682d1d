"""Walks the stages: fingerprint, reuse or run; then judges and reports."""

from __future__ import annotations

import functools
import platform
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pipeline import artifact as artifacts
from pipeline import data, foresight, machine, run_report, speeds, together
from pipeline.again import Again
from pipeline.artifact import Artifact, Basis, Store
from pipeline.claim import claim
from pipeline.compute import devices
from pipeline.compute.scope import Scope
from pipeline.config import Frozen
from pipeline.data import prepared
from pipeline.errors import InputError, ModelmillError, RunError, StoppedError, translate_os_error
from pipeline.events import Emit, Note, StageFinished, StageReused, StageStarted
from pipeline.files import sha256
from pipeline.order import REORDERED
from pipeline.reason import reason
from pipeline.recipe import Recipe, dump
from pipeline.report import document
from pipeline.run_folder import AGAIN, RECIPE, RunFolder
from pipeline.stage import Job, Stage, Surroundings, sections
from pipeline.stages import (
    MODELS,
    NAMES,
    cluster,
    distill,
    edge,
    export,
    import_model,
    measure,
    profile,
    prune,
    quantize,
    sensitivity,
    shrink,
    train,
)
from pipeline.walk import Walk

STAGES: tuple[Stage, ...] = (
    import_model, train, distill, sensitivity, profile, shrink, prune, cluster, quantize, export, measure, edge
)  # fmt: skip

# how a recipe gets the stages that have no section of their own
_SWITCHES = {"import": "set model.path", "profile": "set shrink.latency"}
_ROOT = Path(__file__).parent.parent


def run(
    recipe: Recipe, folder: RunFolder, store: Store, emit: Emit, *, first: str | None = None, until: str | None = None,
    joint: together.Joint | None = None, profile: bool = False,
) -> document.Report:  # fmt: skip
    """Make everything that the recipe asks for, or reuse it, and write the report.

    Args:
        recipe: checked.
        folder: the run's folder, held by the caller.
        store: where results are kept and found.
        emit: takes what the user should see meanwhile.
        first: ignore stored results from this stage on.
        until: stop after this stage.
        joint: the workers that train together, this process one of them; folder and store are its own.
        profile: write a TensorBoard profile of some steps of each stage that trains.

    Raises:
        ModelmillError: the run ended in error; report.json says so too.
    """
    walk = Walk(store, Again(folder.path / AGAIN, first), profile=profile)
    try:
        with _translated(walk, folder), walk.held:
            (folder.path / RECIPE).write_text(dump(recipe), encoding="utf-8")
            joint = together.wanted(recipe, joint)
            _stages(recipe, folder, emit, walk, first, until, joint)
            return run_report.conclude(recipe, folder, walk, _libraries())
    except ModelmillError as error:
        _fail(recipe, folder, walk, error)
        raise


def _fail(recipe: Recipe, folder: RunFolder, walk: Walk, error: ModelmillError) -> None:
    """Write the report of a run that an error ends."""
    failure = document.Failure(stage=walk.at, message=str(error), exit_code=error.exit_code)
    with suppress(Exception):  # what failed the run (a full disk) may fail its report; the message says what it was
        run_report.fail(recipe, folder, walk, _libraries(), failure)


@contextmanager
def _translated(walk: Walk, folder: RunFolder) -> Iterator[None]:
    """Turn what is not ours into our errors: the one boundary for foreign exceptions of a run."""
    try:
        yield
    except KeyboardInterrupt:
        where = f" in {walk.at}" if walk.at else ""
        raise StoppedError(f"stopped{where}", todo="run the same command again: it goes on from there") from None
    except ModelmillError:
        raise
    except Exception as error:
        if disk := translate_os_error(error):
            raise disk from error
        if isinstance(error, MemoryError):
            raise RunError("out of memory", todo="a smaller batch_size, or a machine with more memory") from error
        with suppress(OSError):
            traceback.print_exc()  # standard error is the run's log
        line = (str(error).strip().splitlines() or [""])[-1].strip()
        raise RunError(
            f"{walk.at or 'the run'} failed: {type(error).__name__}: {line}",
            todo=f"the whole story is in {folder.log}",
        ) from error


def _stages(
    recipe: Recipe, folder: RunFolder, emit: Emit, walk: Walk, first: str | None, until: str | None,
    joint: together.Joint | None,
) -> None:  # fmt: skip
    absent = [stage.NAME for stage in STAGES if stage.NAME not in recipe.stages()]
    folder.unlink(absent)
    for name in (first, until):
        if name in absent:
            raise InputError(
                f"the recipe {recipe.name} has no stage {name}",
                expected=f"one of {', '.join(stage for stage in NAMES if stage not in absent)}",
                todo=_SWITCHES.get(name, f"add a section {name} to the recipe"),
            )  # fmt: skip
    line = _line(recipe)
    shared = None
    if joint is not None:
        made = line[: [stage.NAME for stage in line].index(until) + 1 if until else None]
        fitting = [stage.NAME for stage in made if stage.NAME not in absent and _fits(stage)]
        shared = together.last(recipe, fitting, until)
        if not joint.workers.first:
            until = shared
    for stage in line[: [stage.NAME for stage in line].index(until) + 1 if until else None]:
        if stage.NAME in absent:
            continue
        # before anything is trained: a target that is not there is told at once
        walk.at = stage.NAME
        walk.around[stage.NAME] = _surroundings(stage, recipe, emit)
    fills = export.NAME if recipe.export else recipe.models()[-1]
    if fills in walk.around:
        folder.publish(None, ())
    elif folder.artifacts.exists():
        text = f"{folder.artifacts} stays what an earlier run made: this one stops before {fills}"
        emit(Note(str(until), text, level="warning"))
    folder.unlink([prepared.NAME])
    walk.at = next(iter(walk.around), None)
    with together.met(joint, walk, emit, lambda lost: _fail(recipe, folder, walk, lost)):
        _walk_to(shared, line, recipe, folder, emit, walk, first)
    if joint is not None and not joint.workers.first:
        emit(Note(str(shared), f"worker {joint.workers.index} is done: worker 0 exports, measures and reports"))
    _walk_to(None, line, recipe, folder, emit, walk, first)
    walk.at = None


def _walk_to(
    end: str | None, line: tuple[Stage, ...], recipe: Recipe, folder: RunFolder, emit: Emit, walk: Walk,
    first: str | None,
) -> None:  # fmt: skip
    """Make the stages of the line that are left, up to one of them."""
    names = [stage.NAME for stage in line]
    forced = first in names[: len(walk.stages)]
    for stage in line[len(walk.stages) : names.index(end) + 1 if end else None]:
        walk.at = stage.NAME
        forced = forced or first == stage.NAME
        if stage.NAME not in walk.around:
            walk.tell(stage.NAME, "skipped")
        else:
            made = _reuse_or_run(stage, recipe, folder, emit, walk, forced=forced)
            walk.done[stage.NAME] = made
            if hasattr(stage, "assess"):
                try:
                    stage.assess(made.manifest.metrics, emit, **_sections(recipe, stage.assess))
                except ModelmillError:
                    walk.stages[-1] = walk.stages[-1].model_copy(update={"status": "failed"})
                    raise
            if stage.NAME == export.NAME and recipe.export:
                made = walk.done[stage.NAME]
                files = document.read_artifacts(made.folder)
                beside = {name for item in files for name in (*item.beside, *item.labels)}
                folder.publish(made, [*(item.filename for item in recipe.plan()), *sorted(beside)])
            if stage.NAME == edge.NAME:
                folder.publish_beside(made, edge.FOLDER)
            if recipe.models()[-1] == stage.NAME and not recipe.export:
                folder.publish_model(walk.done[stage.NAME], stage.NAME)


def _reuse_or_run(stage: Stage, recipe: Recipe, folder: RunFolder, emit: Emit, walk: Walk, *, forced: bool) -> Artifact:
    """Return a stage's result; its lock is shared until the run has ended, so that nobody replaces what we read."""
    name, store, again = stage.NAME, walk.store, walk.again
    # in the order in which they were made: the last model is the one that comes in
    inputs = {made: found for made, found in walk.done.items() if made in stage.INPUTS}
    if name not in recipe.excluding():
        inputs.pop(sensitivity.NAME, None)  # it is not asked, and another table trains nothing again
    chosen = _sections(recipe, stage.run)
    around = walk.around[name]
    basis = _basis(stage, chosen, inputs, around, walk)
    if "data" in chosen:
        _keep_decoded(chosen["data"], store, folder)
    key = artifacts.fingerprint(basis)
    entry = store.entry(name, key)
    anew = forced and entry.name not in again.made
    ours = claim(name, basis, inputs, walk, emit, anew=anew, forced=forced)
    found = ours.found
    before = folder.link(name, entry)
    store.refer(name, key, folder.path)
    if isinstance(found, Artifact):
        why = f"same settings, inputs, data, code and versions ({key[:8]})"
        emit(StageReused(name, why))
        speeds.refer(found.manifest.fits, store, folder, name)
        if walk.profile and "compute" in chosen:
            speeds.no_profile(emit, name)
        walk.tell(name, "reused", why, found.manifest)
        return found
    if walk.absent is not None and walk.workers > 1:
        raise walk.absent
    if walk.scope is None and any(
        _fits(one) for one in STAGES if one.NAME in walk.around and one.NAME not in walk.done
    ):
        # whichever stage comes first: TensorFlow's devices are decided before it computes anything
        walk.scope = Scope(recipe.compute, walk.meeting)
        walk.scope.start()
        emit(Note(name, walk.scope.choice.said))
    _foresee(stage, recipe, emit, walk)
    why = "another worker lacks it" if ours.lacking else "asked for by --from" if anew else reason(before, basis, found)
    afresh = anew and entry.name not in again.begun
    if not afresh and store.unfinished(name, key):
        why += "; goes on from unfinished work"
    emit(StageStarted(name, why))
    started = time.monotonic()
    try:
        made, work = store.begin(name, key, afresh=afresh)
        again.begin(entry.name)
        _start_ahead(stage, recipe, walk)
        listening = speeds.Listening(emit)
        job = Job(made, work, inputs, listening, around.found, walk.children.pop(name, None), store.root)
        if walk.scope and _fits(stage):
            given = speeds.of_this_run(walk.scope.sections(chosen), store, folder, name, profile=walk.profile)
            with walk.scope.entered(exact=name == quantize.NAME):
                result = stage.run(job, **given)
        else:
            result = stage.run(job, **chosen)
        together.require_same(walk, name, made)
        # what rests on a failure of the moment is itself not to be kept
        inherited = tuple(reason for item in inputs.values() for reason in item.manifest.transient)
        stored = store.commit(
            {
                "stage": name, "fingerprint": key, "basis": basis, "seconds": round(time.monotonic() - started, 3),
                "metrics": result.metrics, "transient": result.transient + inherited, "fits": listening.fits,
                "compute": walk.scope.choice.to_json() if walk.scope and _fits(stage) else None,
            },
            made,
        )  # fmt: skip
    except BaseException:
        walk.tell(name, "failed", why)
        raise
    again.make(entry.name)
    speeds.refer(listening.fits, store, folder, name)
    if walk.profile and "compute" in chosen:
        speeds.tell_profile(emit, folder, name)
    emit(StageFinished(name, stored.manifest.seconds, result.metrics))
    walk.tell(name, "run", why, stored.manifest)
    ours.lock.share(ours.waiting)
    return stored


def _foresee(stage: Stage, recipe: Recipe, emit: Emit, walk: Walk) -> None:
    """Ask doctor, before the first stage that makes something of a model, once in a run."""
    # what is trained, and neither made smaller nor converted, has nothing to fear
    if walk.forecast is not None or stage.NAME not in MODELS or stage.NAME == import_model.NAME:
        return
    if any(name in walk.around for name in (*REORDERED, export.NAME)):
        made = {name: item.folder for name, item in walk.done.items()}
        walk.forecast = foresight.foresee(recipe, made, walk.store.root, walk.around)
        for problem in walk.forecast.problems[:1]:
            walk.at = problem.stage
        foresight.require_possible(walk.forecast, emit)
        walk.at = stage.NAME


def _start_ahead(stage: Stage, recipe: Recipe, walk: Walk) -> None:
    """Start the process of the stage that comes after this one: it imports while this one works."""
    line = _line(recipe)
    for follower in line[line.index(stage) + 1 :]:
        if follower.NAME in walk.around:
            if hasattr(follower, "ahead"):
                child = follower.ahead(**_sections(recipe, follower.ahead))
                walk.children[follower.NAME] = walk.held.enter_context(child)
            return


def _libraries() -> tuple[str, ...]:
    """Return what all stages compute with, for the report to name the versions of."""
    return tuple(dict.fromkeys(library for stage in STAGES for library in stage.LIBRARIES))


def _line(recipe: Recipe) -> tuple[Stage, ...]:
    """Return all stages in the order in which the recipe has them made."""
    made, by_name = recipe.stages(), {stage.NAME: stage for stage in STAGES}
    usual = iter([name for name in made if name in by_name])
    return tuple(by_name[next(usual)] if stage.NAME in made else stage for stage in STAGES)


def _surroundings(stage: Stage, recipe: Recipe, emit: Emit) -> Surroundings:
    if not hasattr(stage, "surroundings"):
        return Surroundings()
    found: Surroundings = stage.surroundings(emit, **_sections(recipe, stage.surroundings))
    return found


def _fits(stage: Stage) -> bool:
    """Return whether a stage trains or fine-tunes."""
    return "compute" in sections(stage.run)


def _sections(recipe: Recipe, function: Callable[..., Any]) -> dict[str, Any]:
    """Return the recipe's sections that a stage's function reads."""
    return {section: getattr(recipe, section) for section in sections(function)}


def _basis(
    stage: Stage, chosen: dict[str, Any], inputs: dict[str, Artifact], around: Surroundings, walk: Walk
) -> Basis:
    """Return everything that decides a stage's result."""
    basis: Basis = {
        "settings": {name: value.decisive() if isinstance(value, Frozen) else value for name, value in chosen.items()},
        "inputs": {name: item.content for name, item in inputs.items()},
        "code": _code(stage.CODE),
        "versions": machine.versions(stage.LIBRARIES) | {"python": ".".join(platform.python_version_tuple()[:2])},
        "surroundings": dict(around.decisive),
    }
    if _fits(stage):
        basis["surroundings"] |= {"devices": devices.decisive(chosen["compute"])}
        if walk.workers > 1:
            basis["surroundings"] |= {"workers": walk.workers}
    if "data" in chosen:
        basis["content"] = {"data": data.content_hash(chosen["data"])}
        basis["versions"] |= machine.versions(data.libraries(chosen["data"]))
    return basis


def _keep_decoded(config: data.DataConfig, store: Store, folder: RunFolder) -> None:
    """Note that the run uses decoded data, before there is any, so that `gc` keeps it."""
    if entry := data.decoded(config, store.root):
        folder.link(prepared.NAME, entry)
        store.refer(prepared.NAME, entry.name.rpartition("-")[2], folder.path)


@functools.cache
def _code(rooms: tuple[str, ...]) -> dict[str, str]:
    """Return path -> sha256 of the source files in the rooms that decide a stage's result."""
    files: dict[str, str] = {}
    for room in rooms:
        path = _ROOT / room
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            files[file.relative_to(_ROOT).as_posix()] = sha256(file)
    return files
