"""What is measured behind a server: which files, and in which order they are asked and put to the test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.events import Emit, Note
from pipeline.formats import tflite
from pipeline.measuring.facts import Facts, Group, excuse, measure_all, put_to_the_test
from pipeline.measuring.served import Served, Supply
from pipeline.plan import to_serve
from pipeline.report import document
from serving.config import ServingConfig
from serving.target.interface import Target


def served(exported: Sequence[document.Artifact], target: Target | None) -> tuple[str, ...]:
    """Return the ids of the SavedModels that are measured behind a server.

    A remote server has one model, and nobody but its owner knows which: it is compared with the last float one.
    """
    if target is None:
        return ()
    made = tuple(item.id for item in exported if item.format == "saved_model" and item.path)
    return made if target.ours else tuple(name for name in made if name == to_serve(exported).id)


def lite(
    exported: Sequence[document.Artifact], files: Mapping[str, Path], target: Target | None,
    serving: ServingConfig | None, emit: Emit, stage: str,
) -> tuple[str, ...]:  # fmt: skip
    """Return the ids of the .tflite files that a server of ours has beside the SavedModels.

    Args:
        files: artifact id -> file.
        emit: is told, in the name of a stage, what could not be served rightly.
    """
    if target is None or serving is None or not target.ours:
        return ()
    wanted = ("int8",) if serving.tflite is None else serving.tflite
    found = []
    for item in exported:
        if item.format == "tflite" and item.precision in wanted and item.id in files:
            if why := tflite.unservable(files[item.id]):
                emit(Note(stage, f"{item.id} is measured in LiteRT alone, and not behind a server: {why}"))
            else:
                found.append(item.id)
    return tuple(found)


def measure_served(
    supply: Supply, groups: Sequence[Group], tested: Sequence[Served], lite: Sequence[str], facts: Facts, *,
    chosen: bool,
) -> None:  # fmt: skip
    """Measure what a server answers over each protocol, and what it survives over those that are put to the test.

    Args:
        lite: the .tflite files among what is served.
        chosen: the recipe asks for them to be served; else a server that cannot is none of their failures.
    """
    measure_all(groups, facts)
    for place in tested:
        put_to_the_test(place, [name for name in groups[0].ids if name not in lite], facts)
    for place in tested:  # last: what nothing guards may harm the server, and with it what is asked next
        put_to_the_test(place, lite, facts, guarded=False)
    if not chosen:
        excuse(lite, facts)
    supply.end()
