"""What is measured of files in their own runtimes, without a server: answers, latencies, and how they start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pipeline.errors import DiskError, RunError
from pipeline.events import Note
from pipeline.isolate import Child, CrashError, FailedError
from pipeline.measuring import startup
from pipeline.measuring.facts import Facts, Group, group, measure_all
from pipeline.measuring.places import Local
from pipeline.predictor import count, rows
from pipeline.report import document
from pipeline.report.startup import Startup

# what an app opens by itself, with threads that it chooses
STARTED = ("tflite", "onnx")


def groups(
    exported: Sequence[document.Artifact], files: Mapping[str, Path], child: Child, threads: int,
    also: Sequence[int] = (),
) -> tuple[list[Group], list[Group]]:  # fmt: skip
    """Return the groups of files that run in this process, one for each format; and those with other threads.

    Args:
        exported: in the order of their turns.
        files: artifact id -> file, of those that are measured so.
        child: the measuring process.
        also: other numbers of threads, for what an app opens by itself.
    """
    forms: dict[str, dict[str, Path]] = {}
    for item in exported:
        if item.id in files:
            forms.setdefault(item.format, {})[item.id] = files[item.id]
    here = [group(exported, Local(child, form, some, threads), some) for form, some in forms.items()]
    others = [
        group(exported, Local(child, form, some, number, key=f"{number}-threads"), some)
        for number in also
        for form, some in forms.items()
        if form in STARTED
    ]
    return here, others


def steps(some: Group) -> int:
    """Return how many steps `measure_local` takes."""
    return len(some.ids) + 2 + (len(some.ids) if _starts(some) else 0)


def measure_local(some: Group, exported: Sequence[document.Artifact], facts: Facts, fresh: Child) -> None:
    """Measure a group, and then how each of its files starts.

    Args:
        fresh: a process in which nothing was loaded yet, and in which nothing else is.
    """
    measure_all([some], facts)
    if not _starts(some):
        return
    place = some.place
    assert isinstance(place, Local)
    for item in (item for item in exported if item.id in some.ids):
        facts.step(f"start of {item.id}, {place.name}")
        if item.id in facts.attempts.errors:
            continue
        samples = _first_samples(item, facts)
        opening = startup.Opening(item.format, place.files[item.id], place.threads, samples)
        try:
            facts.starts[item.id, place.key] = Startup.model_validate(startup.start(opening, fresh))
        except DiskError:
            raise
        except (CrashError, FailedError, RunError) as failure:
            _excuse(item.id, failure, place, facts)


def _excuse(name: str, failure: CrashError | FailedError | RunError, place: Local, facts: Facts) -> None:
    """Keep why the start of a file could not be measured: it has answered, so that the file is not condemned for it."""
    facts.unstarted[name, place.key] = str(failure)
    if not isinstance(failure, FailedError) and failure.transient:  # the next call measures it again
        facts.attempts.transient.append(f"start of {name}: {str(failure).splitlines()[0]}")
    text = f"the start of {name} cannot be measured, though it answers: {failure}"
    facts.attempts.emit(Note(facts.attempts.stage, text, "warning"))


def _starts(some: Group) -> bool:
    return isinstance(some.place, Local) and some.place.form in STARTED


def _first_samples(item: document.Artifact, facts: Facts) -> dict[str, np.ndarray]:
    """Return the first samples of the test split as a file takes them: one, or as many as it takes at once."""
    spec, stored = facts.splits.spec, facts.splits.test.x
    some = rows(stored, np.arange(item.batch or 1) % count(stored))
    named = spec.named(spec.tokens(some))
    return {
        name: np.ascontiguousarray(array, np.float32 if array.dtype.kind == "f" else None)
        for name, array in named.items()
    }
