"""What is measured of every artifact: its answers, its latencies in turns with others, and what it survives.

Facts are collected by artifact and place; what fails for one artifact leaves the others alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from pipeline.attempt import Attempts
from pipeline.data import Splits
from pipeline.errors import DiskError, RunError, UnavailableError
from pipeline.events import Note, Progress
from pipeline.isolate import CrashError, FailedError
from pipeline.measuring import runtimes
from pipeline.measuring.latency import Latency, speedup
from pipeline.measuring.latency_config import LatencyConfig
from pipeline.measuring.places import Place
from pipeline.measuring.served import DiedError, Served
from pipeline.plan import float_twin
from pipeline.report import document
from pipeline.report.startup import Startup

_SHOWN = 2  # problems in a line of the log; report.json has all


@dataclass(frozen=True)
class Group:
    """Artifacts of one place, which take turns.

    Attributes:
        against: id of the float32 artifact that the speed-ups are against, None where there is none.
    """

    place: Place
    ids: tuple[str, ...]
    against: str | None


@dataclass
class Facts:
    """What is known so far, by (artifact id, key of the place); of the places themselves by their name.

    Attributes:
        unserved: artifact id -> why no server has it, though it may be fine in its own runtime.
        unstarted: why its start could not be measured, though it answers.
    """

    attempts: Attempts
    splits: Splits
    batch_size: int
    latency_config: LatencyConfig
    steps: int
    done: int = 0
    answers: dict[tuple[str, str], dict[str, np.ndarray]] = field(default_factory=dict)
    latency: dict[tuple[str, str], list[document.Latency]] = field(default_factory=dict)
    checks: dict[tuple[str, str], list[document.Check]] = field(default_factory=dict)
    starts: dict[tuple[str, str], Startup] = field(default_factory=dict)
    places: dict[str, dict[str, Any]] = field(default_factory=dict)
    unserved: dict[str, str] = field(default_factory=dict)
    unstarted: dict[tuple[str, str], str] = field(default_factory=dict)

    def step(self, item: str) -> None:
        """Tell what is measured next."""
        self.attempts.emit(Progress(self.attempts.stage, "step", self.done, self.steps, item=item))
        self.done += 1

    def told(self) -> dict[str, dict[str, np.ndarray]]:
        """Return the answers of each artifact that has not failed: those of its own runtime, where it ran there."""
        found: dict[str, dict[str, np.ndarray]] = {}
        for (name, key), answers in self.answers.items():
            if name not in self.attempts.errors and (name not in found or not key):
                found[name] = answers
        return found

    def good(self, group: Group) -> list[str]:
        """Return the artifacts of a group that have not failed."""
        return [name for name in group.ids if name not in self.attempts.errors]


def excuse(ids: Iterable[str], facts: Facts) -> None:
    """Hold what failed behind a server against the server, for artifacts that have a runtime of their own besides.

    What may go well another time stays the artifact's: the next call measures it again.
    """
    for name in ids:
        if name in facts.attempts.errors and name not in facts.attempts.passing:
            facts.unserved[name] = facts.attempts.errors.pop(name)
            text = f"{name} is not served, which nobody asked for by name: it is measured in its own runtime alone"
            facts.attempts.emit(Note(facts.attempts.stage, text, "warning"))


def group(exported: Sequence[document.Artifact], place: Place, ids: Iterable[str]) -> Group:
    """Return the group of some exported artifacts, at least one, that run in one place."""
    chosen = tuple(ids)
    twin = float_twin(exported, next(item for item in exported if item.id in chosen))
    return Group(place, chosen, twin.id if twin and twin.id in chosen else None)


def measure_all(groups: Sequence[Group], facts: Facts) -> None:
    """Take the answers of all artifacts, then their latencies."""
    for group in groups:
        answer = partial(
            runtimes.answer, spec=facts.splits.spec, samples=facts.splits.test.x, threads=group.place.threads,
            batch_size=facts.batch_size,
        )  # fmt: skip
        for name in group.ids:
            facts.step(f"answers of {name}, {group.place.name}")
            if name in facts.attempts.errors:
                continue
            found = facts.attempts.attempt(name, partial(group.place.call, [name], answer))
            if found is not None:
                facts.answers[name, group.place.key] = found[name]
    for group in groups:
        for batch in (1, facts.latency_config.batch_size):
            facts.step(f"latency, {group.place.name}, batch {batch}")
            if good := facts.good(group):
                _latency(group, good, facts, batch)
        facts.places[group.place.name] = group.place.described()


def _latency(group: Group, names: list[str], facts: Facts, batch: int) -> None:
    """Let artifacts take turns; where that fails, each with the reference alone, to find the culprit."""
    timed = partial(
        runtimes.time, spec=facts.splits.spec, samples=facts.splits.test.x, threads=group.place.threads,
        config=facts.latency_config, batch=batch,
    )  # fmt: skip
    against = group.against if group.against in names else None

    try:
        _keep(facts, group, group.place.call(names, timed), against)
    except DiskError:
        raise
    except (RunError, FailedError, CrashError) as error:
        if isinstance(error, DiedError) and error.transient:  # somebody ended the server: no artifact is to blame
            for name in names:
                facts.attempts.fail(name, error)
            return
        if against is not None:
            found = facts.attempts.attempt(against, partial(group.place.call, [against], timed))
            if found is not None:
                _keep(facts, group, found, None)
        first = [] if against is None or against in facts.attempts.errors else [against]
        for name in names:
            if name != against:
                found = facts.attempts.attempt(name, partial(group.place.call, [*first, name], timed))
                if found is not None:
                    _keep(facts, group, found, against, only=name)


def _keep(
    facts: Facts, group: Group, found: dict[str, Latency], reference: str | None, only: str | None = None
) -> None:
    """Keep latencies, with the speed-up over the reference; `only` that of one artifact."""
    for name, latency in found.items():
        if only in (None, name):
            faster = None
            if reference in found and name != reference:
                faster = speedup(found[reference], latency, against=str(reference)).to_dict()
                faster |= {"valid": found[reference].valid and latency.valid}
            facts.latency.setdefault((name, group.place.key), []).append(
                document.Latency.model_validate(latency.to_dict() | {"speedup": faster})
            )


def put_to_the_test(place: Served, ids: Iterable[str], facts: Facts, *, guarded: bool = True) -> None:
    """Send each served model malformed requests; one that answers them or does not survive them fails.

    Args:
        guarded: a check is in their graphs. A .tflite has no operators for one: that such a request is answered, or
            refused with another code, is the server's doing, and is told. If the server dies of it, that fails it, too.
    """
    for name in ids:
        facts.step(f"malformed requests to {name}, {place.name}")
        if name in facts.attempts.errors:
            continue
        survive = partial(runtimes.survive, spec=facts.splits.spec, samples=facts.splits.test.x, threads=place.threads)
        found = facts.attempts.attempt(name, partial(place.provoke, name, survive))
        if found is None:
            continue
        problems = list(found[name].problems)
        if found[name].died:
            death = place.supply.death(wait=True)
            if death is None or death.transient:  # somebody else ended it, or a connection broke: no word on the model
                broken = UnavailableError(problems[-1], code="UNAVAILABLE", todo="run the same command again")
                facts.attempts.fail(name, DiedError(death) if death else broken)
                continue
            problems[-1] += f"; {death}"
        facts.checks[name, place.key] = [
            document.Check(name="malformed-requests", requests=found[name].requests, problems=problems)
        ]
        if found[name].died:
            facts.attempts.fail(name, RunError(f"a malformed request ends its server: {'; '.join(problems)}"))
        elif problems and not guarded:
            text = f"{name}, {place.name}: nothing in a .tflite can refuse a request, and the server does not: "
            facts.attempts.emit(Note(facts.attempts.stage, text + _some(problems), "warning"))
        elif problems:
            facts.attempts.fail(name, RunError(f"it does not survive malformed requests: {'; '.join(problems)}"))


def _some(problems: Sequence[str]) -> str:
    more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
    return "; ".join(problems[:_SHOWN]) + more
