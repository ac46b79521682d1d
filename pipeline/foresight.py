"""What a later stage would refuse, told before an earlier one trains for minutes: a run asks doctor first."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import InputError
from pipeline.events import Emit, Note
from pipeline.files import write_json

if TYPE_CHECKING:
    from pipeline.artifact import Artifact
    from pipeline.recipe import Recipe
    from pipeline.report import document
    from pipeline.report.forecast import Forecast
    from pipeline.report.model import Model

# in a run's folder
FILE = "forecast.json"


def check(recipe: Recipe, done: Mapping[str, Artifact], store: Path) -> Forecast:
    """Hold the recipe's sections against the models that they are going to get, as they are before they are trained.

    Args and Raises: as `foresee` and `require_possible`.
    """
    foreseen = foresee(recipe, {name: made.folder for name, made in done.items()}, store)
    require_possible(foreseen)
    return foreseen


def foresee(
    recipe: Recipe, made: Mapping[str, Path], store: Path | None, stages: Collection[str] | None = None
) -> Forecast:
    """Return what becomes of the recipe's models, each as it is before it is trained.

    Args:
        made: stage -> folder of its result, for those that are there, an imported file's among them.
        store: where decoded data lies; None: it is decoded for this call.
        stages: those that will be made; None: all of the recipe's.

    Raises:
        InputError: a model cannot be built for this data.
    """
    from pipeline.doctor import forecast, subjects
    from pipeline.report.forecast import Forecast

    asked = subjects.asked(recipe, stages)
    # notes of a model that is built here come once more from the stage that trains it
    found, spec = subjects.of(recipe, made, store, lambda _: None)
    return Forecast(lines=[forecast.foresee(one, spec, asked) for one in found])


def require_possible(foreseen: Forecast, emit: Emit = lambda _: None) -> None:
    """Refuse what cannot work, whichever candidate goes on.

    What only some of them cannot have is said, and so is a file that no converter can make: as where a conversion
    fails, the run goes on without it.

    Raises:
        InputError: with all that cannot work.
    """
    problems = foreseen.problems
    if all(line.problems for line in foreseen.lines):
        messages = [problem.message for problem in problems]
        if len(messages) == 1:
            raise InputError(messages[0])
        raise InputError("\n".join([f"{len(messages)} things that are asked for cannot work:", *messages]))
    for problem in [*problems, *foreseen.doubts]:
        emit(Note(problem.stage, problem.message, level="warning"))
    for name, reason in foreseen.refused().items():
        emit(Note("export", f"{name} will not be made: {reason}", level="warning"))


def differences(foreseen: Forecast, models: Sequence[Model], artifacts: Sequence[document.Artifact]) -> list[str]:
    """See `doctor.differences.differences`."""
    from pipeline.doctor.differences import differences

    return differences(foreseen, models, artifacts)


def decided(foreseen: Forecast, models: Sequence[Model]) -> list[str]:
    """See `doctor.differences.decided`."""
    from pipeline.doctor.differences import decided

    return decided(foreseen, models)


def remember(folder: Path, results: Mapping[str, str], foreseen: Forecast) -> None:
    """Keep a forecast beside the report, for a run in which all is reused.

    Args:
        folder: the run's.
        results: stage -> fingerprint of what it was a forecast of.
    """
    write_json(folder / FILE, {"results": dict(results), "forecast": foreseen.model_dump(mode="json")})


def remembered(folder: Path, results: Mapping[str, str]) -> Forecast | None:
    """Return the forecast that was kept of these very results; None where there is none."""
    from pipeline.report.forecast import Forecast

    try:
        kept = json.loads((folder / FILE).read_bytes())
        return Forecast.model_validate(kept["forecast"]) if kept["results"] == dict(results) else None
    except (OSError, ValueError, KeyError, TypeError):  # none, or another version's
        return None
