"""What an interrupted call has measured, kept by the server and by the runtime, so that the next call goes on.

Artifacts of one place take turns, so what is kept is always the whole place: nothing is compared across calls.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pipeline.events import Note
from pipeline.measuring.facts import Facts, Group
from pipeline.parts import Parts
from pipeline.report import document
from pipeline.report.startup import Startup


def resumed(name: str, groups: Sequence[Group], facts: Facts, parts: Parts, measure: Callable[[], None]) -> None:
    """Add the facts of some groups: those that an interrupted call kept, else what `measure` adds, which are kept.

    Failures of the moment are not kept: then the groups are measured again.

    Args:
        name: of the part.
        measure: adds the facts of these groups.
    """
    kept = parts.find(name)
    if kept is not None:
        _take_up(kept, name, facts, parts)
        text = f"goes on: {', '.join(group.place.name for group in groups)} measured before it was interrupted"
        facts.attempts.emit(Note(facts.attempts.stage, text))
        return
    passing, done = len(facts.attempts.transient), facts.done
    measure()
    if len(facts.attempts.transient) == passing:
        _keep(name, groups, facts, parts, facts.done - done)


def _keep(name: str, groups: Sequence[Group], facts: Facts, parts: Parts, steps: int) -> None:
    keys = [(item, group.place.key) for group in groups for item in group.ids]
    answered = [(*key, end) for key in keys if key in facts.answers for end in facts.answers[key]]
    path = parts.folder / f"{name}.npz"
    arrays = {str(place): facts.answers[item, key][end] for place, (item, key, end) in enumerate(answered)}
    np.savez(path, allow_pickle=False, **arrays)

    def dumped(known: dict[tuple[str, str], Any]) -> list[Any]:
        return [[*key, [one.model_dump(mode="json") for one in known[key]]] for key in keys if key in known]

    errors = facts.attempts.errors
    value = {
        "steps": steps, "answered": answered, "latency": dumped(facts.latency), "checks": dumped(facts.checks),
        "starts": [[*key, facts.starts[key].model_dump(mode="json")] for key in keys if key in facts.starts],
        "unstarted": [[*key, facts.unstarted[key]] for key in keys if key in facts.unstarted],
        "errors": {item: errors[item] for item, _ in keys if item in errors},
        "unserved": {item: facts.unserved[item] for item, _ in keys if item in facts.unserved},
        "places": {group.place.name: facts.places[group.place.name] for group in groups},
    }  # fmt: skip
    parts.keep(name, value, [path])


def _take_up(kept: dict[str, Any], name: str, facts: Facts, parts: Parts) -> None:
    facts.done += kept["steps"]
    for item, error in kept["errors"].items():
        facts.attempts.recall(item, error)
    facts.unserved.update(kept["unserved"])
    facts.places.update(kept["places"])
    with np.load(parts.folder / f"{name}.npz", allow_pickle=False) as stored:
        for place, (item, key, end) in enumerate(kept["answered"]):
            facts.answers.setdefault((item, key), {})[end] = stored[str(place)]
    for item, key, latencies in kept["latency"]:
        facts.latency[item, key] = [document.Latency.model_validate(one) for one in latencies]
    for item, key, checks in kept["checks"]:
        facts.checks[item, key] = [document.Check.model_validate(one) for one in checks]
    for item, key, start in kept["starts"]:
        facts.starts[item, key] = Startup.model_validate(start)
    for item, key, why in kept["unstarted"]:
        facts.unstarted[item, key] = why
