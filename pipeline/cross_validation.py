"""`modelmill cv`: the recipe's line of stages once for each fold, tested on the fold that it has not seen.

Every fold is a run like any other, through the same store and into a folder of its own; so what an interrupted or an
earlier cross-validation has made is reused. Nothing is exported, served or timed (but for the layers by which
shrink.latency chooses widths): what is compared is the Keras model of each stage.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, get_args

from pipeline import machine, spread
from pipeline.data.split import By
from pipeline.errors import InputError
from pipeline.recipe import Recipe, check
from pipeline.report import folds as document
from pipeline.report.quality import CHANGES
from pipeline.run import STAGES

if TYPE_CHECKING:
    from pipeline.report.document import Report
    from pipeline.report.model import Model

FEWEST, MOST = 2, 100
# what is kept of a recipe's section measure: the rest is of files and their latency
_MEASURE = ("threads", "batch_size", "resamples", "deadline_s", "memory_mb")


def fold_recipes(recipe: Recipe, count: int, by: str | None = None) -> list[Recipe]:
    """Return the recipe of each fold: the same but for the split, and with nothing exported, served or judged.

    A stage that loses more than its bound goes on, with a warning, where the recipe says `on_regression: stop`.

    Args:
        count: of folds.
        by: what stays together, as data.split.by; None: as the recipe says.

    Raises:
        InputError: the number or `by` is impossible, or the recipe makes no model.
    """
    if not FEWEST <= count <= MOST:
        raise InputError(
            f"--folds {count} is impossible", expected=f"{FEWEST} to {MOST}", found=str(count),
            todo="5 and 10 are usual",
        )  # fmt: skip
    if by is not None and by not in get_args(By):
        raise InputError(
            f"--by {by} is unknown", expected=f"one of {', '.join(get_args(By))}", found=by,
            todo="leave it out to divide as data.split.by says",
        )  # fmt: skip
    if recipe.data.split.fold is not None:
        raise InputError(
            "the recipe is of one fold already", expected="a recipe without data.split.fold",
            found=f"fold {recipe.data.split.fold.index} of {recipe.data.split.fold.of}",
            todo="remove data.split.fold: this command sets it, once for each fold",
        )  # fmt: skip
    return [_of_fold(recipe, place, count, by) for place in range(count)]


def _of_fold(recipe: Recipe, place: int, count: int, by: str | None) -> Recipe:
    whole = recipe.model_dump(mode="json")
    split = whole["data"]["split"]
    split |= {"fold": {"index": place, "of": count}, "by": by or split["by"]}
    measure = whole["measure"] or {}
    whole |= {
        "export": None, "serving": None, "edge": None, "judge": None,
        "measure": {key: measure[key] for key in _MEASURE if key in measure},
    }  # fmt: skip
    for section in whole.values():
        # how much a stage loses is what folds are there to show: none of them ends the others
        if isinstance(section, dict) and section.get("on_regression") == "stop":
            section["on_regression"] = "continue"
    return check(whole, recipe.name)


def together(
    recipe: Recipe, divided: Sequence[Recipe], reports: Sequence[Report], folders: Sequence[Path], apart: int
) -> document.Folds:
    """Return what the folds say together.

    Args:
        recipe: before it was divided.
        divided: the recipe of each fold.
        reports: of each fold's run, which made all stages.
        folders: of each fold's run.
        apart: samples of the source's own test split.
    """
    first = {model.name: model for model in reports[0].models}
    figures = {name: [_figures(report.models, name) for report in reports] for name in first}
    against = next(iter(figures))
    judged = reports[0].models[0].judged
    trained = [_train_samples(report) for report in reports]
    ratio = fmean(_test_samples(report) / count for report, count in zip(reports, trained, strict=True))
    stages = [
        document.Stage(
            stage=first[name].stage,
            variant=first[name].variant,
            metrics=_documented(spread.spreads(found, ratio, judged)),
            differences=(
                {} if name == against else _documented(spread.differences(found, figures[against], ratio, judged))
            ),
        )
        for name, found in figures.items()
    ]
    libraries = dict.fromkeys(library for stage in STAGES for library in stage.LIBRARIES)
    return document.Folds(
        modelmill=importlib.metadata.version("modelmill"),
        recipe=recipe.name,
        seed=recipe.seed,
        by=divided[0].data.split.by,
        judged_by=judged,
        against=against,
        apart=apart,
        notes=[*notes(recipe, apart), *_lacking(judged, figures[against])],
        folds=[
            document.Fold(
                fold=place, folder=str(folder), test_samples=_test_samples(report), train_samples=count,
                reused=all(stage.status != "run" for stage in report.stages),
            )
            for place, (folder, report, count) in enumerate(zip(folders, reports, trained, strict=True), 1)
        ],
        stages=stages,
        settings=recipe.model_dump(mode="json"),
        machine=machine.describe(libraries),
    )  # fmt: skip


def notes(recipe: Recipe, apart: int) -> list[str]:
    """Return what a reader of the result has to know of these data and this model."""
    found = []
    if apart:
        found.append(
            f"The data's own test split ({apart:,} samples) is in no fold and was not looked at: it stays what a final "
            "model is tested on."
        )
    if "import" in recipe.stages():
        found.append(
            "The model comes from a file: samples that it was trained on before may be in any fold's test split, and "
            "then the figures flatter it."
        )
    return found


def _lacking(judged: Sequence[str], folds: Sequence[Mapping[str, float]]) -> list[str]:
    """Return what to say of the folds whose test split leaves a metric that matters undefined."""
    found = []
    for name in judged:
        places = [str(place) for place, fold in enumerate(folds, 1) if name not in fold]
        if places:
            which = f"fold{'s' if len(places) > 1 else ''} {', '.join(places)}"
            left = len(folds) - len(places)
            rest = (
                f"what is told of it is of the other {left}" if left > 1 else "too few folds have it to tell anything"
            )
            found.append(
                f"{document.noun(name)} is undefined on the test split of {which} of {len(folds)}: {rest} (the report "
                "of such a fold says why)."
            )
    return found


def _figures(models: Sequence[Model], name: str) -> dict[str, float]:
    """Return the metrics of a run's model on its fold, without those that compare it with another."""
    (model,) = [model for model in models if model.name == name]
    compared = {f"{key}_{change}" for key in model.judged for change in CHANGES}
    return {key: one.value for key, one in model.metrics.items() if key not in compared}


def _documented(found: Mapping[str, spread.Spread]) -> dict[str, document.Spread]:
    return {name: document.Spread.model_validate(_plain(one)) for name, one in found.items()}


def _plain(one: spread.Spread) -> dict[str, Any]:
    limits = {"low": one.interval[0], "high": one.interval[1]} if one.interval else None
    return asdict(one) | {"values": list(one.values), "low": one.low, "high": one.high, "interval": limits}


def _train_samples(report: Report) -> int:
    assert report.data is not None  # what made the first model has looked
    return report.data.splits["train"].samples


def _test_samples(report: Report) -> int:
    return int(next(stage.metrics["test_samples"] for stage in report.stages if stage.name == "measure"))
