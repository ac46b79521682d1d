"""Whether a stage's result is reused or made, in one run and over all workers of a job, and the locks that go with it.

Workers that train together decide as one. A job whose workers held some of an entry's locks, each in a store of its
own, and waited for the others, could wait for ever for another job that holds those: so one job at a time takes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from pipeline import together
from pipeline.artifact import Artifact, Basis, Damaged, fingerprint
from pipeline.events import Emit, Note
from pipeline.lock import Lock
from pipeline.walk import Walk


@dataclass(frozen=True)
class Claim:
    """What is stored of a stage's result, the entry's lock held.

    Attributes:
        found: the result to use, its lock shared; or why there is none, its lock owned: it is ours to make.
        lacking: whether this worker has it and another one lacks it: what is trained together is made by all, or by
            nobody.
        waiting: to be called before waiting for the lock; tells it once.
    """

    lock: Lock
    found: Artifact | Damaged | None
    lacking: bool
    waiting: Callable[[], None]


def claim(
    stage: str, basis: Basis, inputs: Mapping[str, Artifact], walk: Walk, emit: Emit, *, anew: bool, forced: bool
) -> Claim:  # fmt: skip
    """Find a stage's result, or take it to make it; its lock is held until the run has ended.

    Args:
        inputs: what earlier stages made of what it reads.
        anew: look for nothing, own it.
        forced: whether --from asks for it, as all workers must have it.

    Raises:
        LostError: another worker has ended.
        RunError: the workers are about to make different results.
    """
    store, key, told = walk.store, fingerprint(basis), False

    def waiting() -> None:
        nonlocal told
        if not told:
            emit(Note(stage, f"waits: another run is making or using {stage} {key} in the same store"))
        told = True

    with _alone(stage, key, walk, waiting):
        lock = walk.held.enter_context(store.lock(stage, key))
        found = store.find_or_own(stage, basis, lock, waiting, afresh=anew)
        ours = isinstance(found, Artifact)
        lacking = not together.all_have(walk, stage, basis, inputs, ours, forced) and ours
        if lacking:
            lock.own(waiting)
            found = None
        together.all_here(walk)
    return Claim(lock, found, lacking, waiting)


@contextmanager
def _alone(stage: str, key: str, walk: Walk, waiting: Callable[[], None]) -> Iterator[None]:
    """Let no other job with the same worker 0's store take an entry's locks inside the block."""
    with ExitStack() as held:
        if walk.meeting is not None and walk.meeting.workers.first:
            held.enter_context(walk.store.lock(f"{stage}_turn", key)).own(waiting)
        together.all_here(walk)
        yield
