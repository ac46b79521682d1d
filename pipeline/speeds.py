"""What the fits of a stage tell of their speed, and the trials of settings that they rest on, kept for whom they serve.

`compute` is handed to a stage with what is of this run and decides nothing: where trials are kept, and whether some
steps are profiled.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.artifact import Store
from pipeline.compute.config import Compute
from pipeline.events import Emit, Event, Note, Trained
from pipeline.fit.trial import NAME as _TRIAL
from pipeline.run_folder import RunFolder

PROFILE = "profile"


class Listening:
    """An `emit` that remembers what fits tell of their speed."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self.fits: list[dict[str, Any]] = []

    def __call__(self, event: Event) -> None:
        if isinstance(event, Trained):
            self.fits.append({**event.speed, **({"of": event.item} if event.item else {})})
        self._emit(event)


def of_this_run(
    chosen: Mapping[str, Any], store: Store, folder: RunFolder, stage: str, *, profile: bool
) -> dict[str, Any]:
    """Return a stage's sections, `compute` with the folders that a fit may use; no earlier run's profile is left."""
    compute = chosen.get("compute")
    if not isinstance(compute, Compute):
        return dict(chosen)
    into = (folder.path / PROFILE / stage).absolute() if profile else None
    if into is not None and into.is_dir():
        shutil.rmtree(into)
    return {**chosen, "compute": compute.model_copy(update={"store": store.root, "profile": into})}


def refer(fits: Iterable[Mapping[str, Any]], store: Store, folder: RunFolder, stage: str) -> None:
    """Note that a run rests on trials, so that `gc` keeps them; the run has links performance-STAGE-N."""
    folder.unlink([path.name for path in (folder.path / "stages").glob(f"{_TRIAL}-{stage}-*")])
    keys = dict.fromkeys(str(fit["outcome"]) for fit in fits if fit.get("outcome"))
    for place, key in enumerate(keys, start=1):
        entry = store.entry(_TRIAL, key)
        if entry.is_dir():
            folder.link(f"{_TRIAL}-{stage}-{place}", entry)
            store.refer(_TRIAL, key, folder.path)


def no_profile(emit: Emit, stage: str) -> None:
    """Say why a stage that was asked for a profile has none."""
    text = f"nothing was profiled: its result is reused, so no step was trained; --from {stage} trains it anew"
    emit(Note(stage, text, level="warning"))


def tell_profile(emit: Emit, folder: RunFolder, stage: str) -> None:
    """Say where a stage's profile is, or that its fits were too short for one."""
    into = folder.path / PROFILE / stage
    if into.is_dir():
        emit(Note(stage, f"profile of some steps: {into}; tensorboard --logdir {folder.path / PROFILE} shows it"))
    else:
        emit(Note(stage, "nothing was profiled: it has too few steps; more epochs have more", level="warning"))
