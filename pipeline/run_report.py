"""Makes the report out of what a run has made, or of as much as it came to."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pipeline import foresight, machine
from pipeline.bought import bought, explained
from pipeline.compress import sensitivity_table
from pipeline.edge import budgets
from pipeline.fastest import fastest
from pipeline.image import document as image
from pipeline.measuring import layer_times
from pipeline.plan import final, reference, to_serve
from pipeline.recipe import Recipe, risks
from pipeline.report import document
from pipeline.report import edge as edge_report
from pipeline.report.answers import read_answers
from pipeline.report.baseline import read_baseline
from pipeline.report.data import read_data
from pipeline.report.model import Model, read_models
from pipeline.run_folder import RunFolder
from pipeline.stages import edge, export, judge, measure, profile, report, sensitivity, train
from pipeline.walk import Walk


def conclude(recipe: Recipe, folder: RunFolder, walk: Walk, libraries: Iterable[str]) -> document.Report:
    """Judge what a run has made, and write the report; `libraries` are those whose versions it names."""
    walk.at = "report"
    found = _artifacts(recipe, walk)
    gates: list[document.Gate] = []
    if recipe.export and recipe.judge and measure.NAME in walk.done:
        gates = judge.judge(found, recipe.plan(), recipe.judge)
    if device := _edge(recipe, walk):
        if recipe.judge:
            gates += judge.on_device(found, recipe.plan(), recipe.judge, device)
        gates += budgets.gates(device, next(item for item in found if item.id == device.artifact))
    verdict = judge.verdict(found, gates, device.failures() if device else ())
    finished = _report(recipe, folder, walk, libraries, verdict=verdict, gates=gates)
    report.write(finished, folder.path)
    walk.again.end()
    return finished


def fail(
    recipe: Recipe, folder: RunFolder, walk: Walk, libraries: Iterable[str], failure: document.Failure
) -> None:  # fmt: skip
    """Write the report of a run that ended in error."""
    report.write(_report(recipe, folder, walk, libraries, verdict="error", failure=failure), folder.path)


def _artifacts(recipe: Recipe, walk: Walk) -> list[document.Artifact]:
    """Return what is known of the exported files, from the last stage that looked at them."""
    last = next((walk.done[name] for name in (edge.NAME, measure.NAME, export.NAME) if name in walk.done), None)
    if last is None or recipe.export is None:
        return []
    optional = recipe.export.optional
    return [
        # what is only there to show what it costs fails nobody
        item.model_copy(update={"optional": item.id in optional or item.precision == "fake-quant"})
        for item in document.read_artifacts(last.folder)
    ]


def _edge(recipe: Recipe, walk: Walk) -> document.Edge | None:
    """Return what the file takes of the recipe's device, with the limits on it."""
    if edge.NAME not in walk.done or recipe.edge is None:
        return None
    return edge_report.read(walk.done[edge.NAME].folder).model_copy(update={"budget": recipe.edge.budget})


def _foreseen(
    walk: Walk, folder: RunFolder, made: list[Model], found: list[document.Artifact]
) -> dict[str, Any]:  # fmt: skip
    """Return what was foreseen of these results, in this run or in the one that made them, and what came otherwise."""
    results = {name: item.manifest.fingerprint for name, item in walk.done.items()}
    forecast = walk.forecast or foresight.remembered(folder.path, results)
    if forecast is None:
        return {}
    foresight.remember(folder.path, results, forecast)
    return {
        "forecast": forecast,
        "unforeseen": foresight.differences(forecast, made, found),
        "decided": foresight.decided(forecast, made),
    }


def _models(walk: Walk) -> list[Model]:
    """Return what is known of the stages' models, from measure where it has looked at them."""
    if measure.NAME in walk.done:
        return read_models(walk.done[measure.NAME].folder)
    return [model for item in walk.done.values() for model in read_models(item.folder)]


def _report(
    recipe: Recipe, folder: RunFolder, walk: Walk, libraries: Iterable[str], *, verdict: str,
    gates: list[document.Gate] | None = None,
    failure: document.Failure | None = None,
) -> document.Report:  # fmt: skip
    plan = recipe.plan()
    found, made = _artifacts(recipe, walk), _models(walk)
    store, here = walk.store.root, Path.cwd()
    return document.Report.model_validate(
        {
            "schema": 1,
            "modelmill": importlib.metadata.version("modelmill"),
            "recipe": recipe.name,
            "seed": recipe.seed,
            "verdict": verdict,
            "reference": reference(plan).id if plan else None,
            "final": final(plan, recipe.judge.final if recipe.judge else None).id if plan else None,
            "to_serve": to_serve(plan).id if plan else None,
            "failure": failure,
            "serving": measure.serving_target(walk.around[measure.NAME]) if measure.NAME in walk.around else None,
            "stages": walk.stages,
            "models": made,
            "bought": bought(made, found),
            "explained": explained(found),
            "artifacts": found,
            "fastest": fastest(found, reference(plan).id) if plan else None,
            "edge": _edge(recipe, walk),
            "gates": gates or [],
            "image": image.of_run(folder.path, found),
            "tested": read_answers(walk.done[measure.NAME].folder) if measure.NAME in walk.done else None,
            "data": next((known for item in walk.done.values() if (known := read_data(item.folder))), None),
            "baseline": read_baseline(walk.done[measure.NAME].folder) if measure.NAME in walk.done else None,
            **_foreseen(walk, folder, made, found),
            "layer_times": layer_times.read(walk.done[profile.NAME].folder) if profile.NAME in walk.done else None,
            "sensitivity": sensitivity_table.read(walk.done[sensitivity.NAME].folder)
            if sensitivity.NAME in walk.done
            else None,
            "folder": str(folder.path),
            "store": str(store.relative_to(here) if store.is_relative_to(here) else store),
            "settings": (settings := recipe.model_dump(mode="json")),
            "needs_trust": bool(risks(settings)),
            "machine": machine.describe(libraries),
            "compute": next((on for item in walk.done.values() if (on := item.manifest.compute)), None),
            "training": next((model.training for model in made if model.stage == train.NAME), {}),
        }
    )
