"""Reports of a matrix's runs, as they would be stored, without anything being made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.recipe import Recipe
from pipeline.report.document import Report
from pipeline.report.forecast import Forecast

PARITY = {
    "against": "train.keras", "samples": 359, "top1_agreement": 0.99, "top1_agreement_low": 0.98,
    "top1_agreement_high": 1.0, "max_abs_error": 0.1, "mean_abs_error": 0.01,
}  # fmt: skip


def artifact(
    item: Any, lost: float = 0.0, error: str | None = None, *, passing: bool, judged: str, undropped: bool
) -> dict[str, Any]:
    """Return what a report says of an artifact that is right on 97.5 % less what it lost, or that failed."""
    named = {"id": item.id, "stage": item.stage, "format": item.format, "precision": item.precision,
             "variant": item.variant}  # fmt: skip
    if error:
        return named | {"error": error, "transient": passing}
    drop = {} if undropped else {f"{judged}_drop": {"value": lost, "low": lost - 0.01, "high": lost + 0.01}}
    return named | {
        "path": f"artifacts/{item.filename}", "bytes": 12_345, "gzip_bytes": 6_789,
        "operators": {"integer": 3, "floating": 1},
        "runs": [
            {
                "runtime": "litert", "threads": 1, "judged": [judged], "parity": PARITY, "latency": [],
                "metrics": {judged: {"value": 0.975 - lost, "low": 0.95 - lost, "high": 0.99 - lost}} | drop,
            }
        ],
    }  # fmt: skip


def forecast(recipe: Recipe, refused: Mapping[str, str]) -> Forecast:
    """Return what doctor says of a run's files: artifact id -> why it cannot be made, if it cannot."""
    files = [{"id": item.id, "refused": refused.get(item.id, "")} for item in recipe.plan()]
    return Forecast.model_validate({"lines": [{"stages": [], "files": files}]})


def report(
    recipe: Recipe, errors: Mapping[str, str] | None = None, refused: Mapping[str, str] | None = None,
    lost: Mapping[str, float] | None = None, unforeseen: tuple[str, ...] = (), *, passing: bool = False,
    judged: str = "accuracy", undropped: bool = False,
) -> Report:  # fmt: skip
    """Return the report of a run.

    Args:
        errors: artifact id -> why it failed.
        refused: artifact id -> why doctor said that it cannot be made.
        lost: artifact id -> what it lost.
        passing: whether what failed did so of the moment.
        judged: the metric.
        undropped: nothing could be compared with the reference.
    """
    errors, refused, lost = errors or {}, refused or {}, lost or {}
    plan = recipe.plan()
    return Report.model_validate(
        {
            "modelmill": "0", "recipe": recipe.name, "seed": 0, "verdict": "incomplete", "machine": {},
            "reference": plan[0].id,
            "stages": [{"name": "train", "status": "run", "seconds": 2.5},
                       {"name": "measure", "status": "run", "seconds": 1.5, "metrics": {"test_samples": 359}}],
            "artifacts": [
                artifact(item, lost.get(item.id, 0.0), errors.get(item.id), passing=passing, judged=judged,
                         undropped=undropped)
                for item in plan
            ],
            "forecast": forecast(recipe, refused).model_dump(mode="json"),
            "unforeseen": unforeseen,
        }
    )  # fmt: skip
