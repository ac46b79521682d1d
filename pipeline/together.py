"""A run whose models several workers train together: who does what, and how it ends where one of them does.

Every worker walks through the stages, with a run's folder and a store of its own, up to the last one that trains;
worker 0 alone goes on to export, measure and report.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import machine
from pipeline.artifact import Artifact, Basis, fingerprint
from pipeline.compute import agreement, cluster, meeting
from pipeline.compute.cluster import Workers
from pipeline.compute.meeting import LostError, Meeting
from pipeline.errors import InputError, MissingError, ModelmillError
from pipeline.events import Emit, Error, Note
from pipeline.files import hashes
from pipeline.fit.config import TENSORBOARD
from pipeline.recipe import Recipe
from pipeline.walk import Walk

# longest a lost worker may stay unnoticed by what the libraries do meanwhile
_NOTICED_S = 10.0
_ENDED_S = 60.0
_TOLD_S = 20.0  # and what saying so may take then


@dataclass(frozen=True)
class Joint:
    """What a command is told of the workers of its job: itself one of them.

    Attributes:
        wait_s: seconds in which all must have come.
    """

    workers: Workers
    wait_s: float = cluster.WAIT_S

    def folder(self, path: Path) -> Path:
        """Return a run's folder of this worker's own: on a shared disk each needs another."""
        return path if self.workers.first else path.with_name(f"{path.name}-worker-{self.workers.index}")

    def store(self, path: Path) -> Path:
        """Return a store of this worker's own."""
        return path if self.workers.first else path / f"worker-{self.workers.index}"


def last(recipe: Recipe, fitting: Sequence[str], until: str | None) -> str:
    """Return the last stage that the workers make together.

    Args:
        fitting: the stages of the recipe's line that train, in its order, up to `until`.

    Raises:
        InputError: nothing is trained, or something would be decided by what one machine measures.
    """
    if not fitting:
        raise InputError(
            "several workers, and nothing is trained" + (f" until {until}" if until else ""),
            expected="one of train, distill, shrink, prune, cluster, quantize", found=", ".join(recipe.stages()),
            todo="run it without workers",
        )  # fmt: skip
    if recipe.shrink is not None and recipe.shrink.latency is not None:
        raise InputError(
            "shrink.latency with several workers: each would measure its own machine, and shrink to other widths",
            expected="shrink.macs or shrink.parameters", found="shrink.latency",
            todo="--set shrink.latency=null --set shrink.macs=0.5; or shrink without workers",
        )  # fmt: skip
    return fitting[-1]


def wanted(recipe: Recipe, joint: Joint | None) -> Joint | None:
    """Return the workers that the recipe trains with; raises as `cluster.wanted`."""
    return joint if cluster.wanted(recipe.strategy, joint.workers if joint else None) else None


@contextmanager
def met(
    joint: Joint | None, walk: Walk, emit: Emit, fail: Callable[[ModelmillError], object]
) -> Iterator[None]:  # fmt: skip
    """Meet the other workers, and let them know how this one ends.

    Args:
        fail: writes the report of the run, which has to end where it stands because another worker is lost.

    Raises:
        MissingError, InputError: see `meeting.join`.
        LostError: another worker has ended, whatever the libraries made of it.
    """
    if joint is None:
        yield
        return
    stage = walk.at or "workers"
    walk.workers = len(joint.workers.addresses)
    try:
        walk.meeting = _joined(joint, walk, stage, emit, fail)
        yield
        if walk.meeting is not None:
            walk.meeting.leave()
        else:
            emit(Note(stage, "all that the workers make together is stored: worker 0 goes on alone", level="warning"))
    except BaseException as error:
        if walk.meeting is None:
            raise
        lost = _lost(error, walk.meeting)
        walk.meeting.leave(_said(lost or error))
        if lost is not None and lost is not error:
            raise lost from error
        raise
    finally:
        walk.over.set()
        walk.workers, walk.meeting = 1, None


def _joined(
    joint: Joint, walk: Walk, stage: str, emit: Emit, fail: Callable[[ModelmillError], object]
) -> Meeting | None:  # fmt: skip
    """Return the meeting of the workers; None: worker 0 was started again, perhaps after the others were done."""
    try:
        made = meeting.join(joint.workers, wait_s=joint.wait_s, waiting=lambda text: emit(Note(stage, text)))
    except MissingError as error:
        if not joint.workers.first:
            raise
        walk.absent = error
        return None
    emit(Note(stage, f"{made.count} workers are there ({joint.workers.source}); this is {_own(joint.workers)}"))
    made.watch(lambda lost: _end_soon(lost, walk, emit, fail))
    return made


def _own(workers: Workers) -> str:
    return workers.name(workers.index)


def _said(error: BaseException) -> str:
    if isinstance(error, ModelmillError):
        return error.what
    return "stopped" if isinstance(error, KeyboardInterrupt) else f"{type(error).__name__}: {error}"


def _lost(error: BaseException, meeting: Meeting) -> LostError | None:
    """Return the loss of a worker that an error comes of; None: it is this worker's own."""
    if isinstance(error, KeyboardInterrupt):
        return None
    if isinstance(error, LostError):
        return error
    causes = list(_causes(error))
    if any(type(cause).__module__.startswith("tensorflow") for cause in causes):
        # it may have noticed before us that a connection broke
        deadline = time.monotonic() + _NOTICED_S
        while not meeting.lost and time.monotonic() < deadline:
            time.sleep(0.1)
        return meeting.lost
    return None if isinstance(error, ModelmillError) else meeting.lost


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _end_soon(lost: LostError, walk: Walk, emit: Emit, fail: Callable[[ModelmillError], object]) -> None:
    """End this process where it does not end by itself, because it waits in some library for who is lost."""

    def end() -> None:
        if not walk.over.wait(_ENDED_S):
            # what the main thread holds on to must not keep this one either
            latest = threading.Timer(_TOLD_S, os._exit, (lost.exit_code,))
            latest.daemon = True
            latest.start()
            with suppress(Exception):
                fail(lost)
            with suppress(Exception):
                emit(Error(str(lost), lost.exit_code))
            os._exit(lost.exit_code)

    threading.Thread(target=end, name="modelmill-lost", daemon=True).start()


def all_have(walk: Walk, stage: str, basis: Basis, inputs: Mapping[str, Artifact], have: bool, afresh: bool) -> bool:
    """Return whether a stage's result is there on all workers; see `agreement.all_have`."""
    if walk.meeting is None:
        return have
    # another kind of processor rounds otherwise; a result that is stored is as good on it
    around = {**basis["surroundings"], "processor": machine.cpu()}
    parts: dict[str, Any] = {
        **{key: basis.get(key) for key in ("settings", "code", "versions", "content")},
        "inputs": {name: _lasting(made.manifest.files) for name, made in inputs.items()},
        "surroundings": around, "afresh": afresh,
    }  # fmt: skip
    return agreement.all_have(walk.meeting, stage, {key: fingerprint({key: part}) for key, part in parts.items()}, have)


def all_here(walk: Walk) -> None:
    """Wait until all workers have come to the same place."""
    if walk.meeting is not None:
        walk.meeting.gather(None)


def require_same(walk: Walk, stage: str, folder: Path) -> None:
    """Hold the workers to one result of a stage, before it is stored; see `agreement.require_same`."""
    if walk.meeting is not None:
        agreement.require_same(walk.meeting, stage, _lasting(hashes(folder, folder)))


def _lasting(files: Mapping[str, str]) -> dict[str, str]:
    """Return the hashes of a result's files, but of logs, which have times and machines in their names."""
    return {name: digest for name, digest in files.items() if TENSORBOARD not in Path(name).parts}
