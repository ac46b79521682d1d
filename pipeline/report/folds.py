"""`cv.json` as types, and `cv.html`: what the folds of a cross-validation say together. Keys only ever get added."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from pipeline.config import Frozen
from pipeline.files import write_json
from pipeline.metric import of_key
from pipeline.report import words

JSON, PAGE = "cv.json", "cv.html"
METHOD = "corrected resampled t, Nadeau and Bengio 2003, with variance (1/k + tested/trained) s^2"
WARNING = (
    "The folds share training data, so their results are not independent and no exact interval exists: read the "
    "standard deviation and the range. The interval is the corrected one of Nadeau and Bengio (2003): an "
    "approximation, and symmetric about the mean, so it may reach beyond what a metric can be."
)


class Limits(Frozen):
    """The corrected 95 % limits of the mean; see `Folds.method`."""

    low: float
    high: float


class Spread(Frozen):
    """One figure over the folds: `values` has one a fold; `low` and `high` are the least and the largest of them.

    `deviation` is the sample standard deviation. `interval` is null where all folds agree, which proves nothing.
    """

    mean: float
    deviation: float
    low: float
    high: float
    values: list[float]
    interval: Limits | None


class Stage(Frozen):
    """A stage's Keras model on the folds' test splits.

    `metrics` are those that all folds have; of those that matter, it is enough that two have them. `differences` are
    its metrics less those of the first stage's model on the same fold, so on the same samples; empty for the first.
    `variant` is "", "alone" or "control", as in report.json.
    """

    stage: str
    variant: str = ""
    metrics: dict[str, Spread]
    differences: dict[str, Spread] = Field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.stage} ({self.variant})" if self.variant else self.stage


class Fold(Frozen):
    """One fold, counted from 1, and the folder of its run; `reused`: nothing had to be made.

    `train_samples` are those that weights were learned from; null in a cv.json of an earlier version.
    """

    fold: int
    folder: str
    test_samples: int
    train_samples: int | None = None
    reused: bool


class Folds(Frozen):
    """The whole of `cv.json`.

    `by` says what stayed together, as data.split.by. `judged_by` names the metrics that matter, one for each output of
    the model; `against` is the stage that differences are to. `apart` counts the samples of a test split that the data
    source itself has: they are in no fold. `settings` is the recipe with every default, before it was divided.
    """

    schema_: Literal[1] = Field(default=1, alias="schema")
    modelmill: str
    recipe: str
    seed: int
    by: str
    judged_by: list[str]
    against: str
    apart: int
    notes: list[str]
    method: str = METHOD
    folds: list[Fold]
    stages: list[Stage]
    settings: dict[str, Any] = Field(default_factory=dict)
    machine: dict[str, Any] = Field(default_factory=dict)

    def matter(self) -> list[str]:
        """Return the metrics that matter and that some stage has."""
        return [name for name in self.judged_by if any(name in stage.metrics for stage in self.stages)]

    def others(self) -> list[str]:
        """Return the metrics besides those that matter; what is of one class alone is left to cv.json."""
        found = dict.fromkeys(name for stage in self.stages for name in stage.metrics)
        return [name for name in found if name not in self.judged_by and not of_key(name)[1].of]

    def title(self) -> str:
        """Return what was done, in a line."""
        samples = sum(fold.test_samples for fold in self.folds)
        return f"{self.recipe}: {len(self.folds)} folds of {words.number(samples)} samples, {self.by}"

    def remarks(self) -> list[str]:
        """Return what a reader has to know, in sentences."""
        return [WARNING, *self.notes]


def noun(name: str) -> str:
    """Return what a metric is called, with the output that it is of where there are several."""
    head, metric = of_key(name)
    return f"{head} {metric.noun}" if head else metric.noun


def mean(name: str, one: Spread) -> str:
    """Return "97.2 % ± 0.4": the mean and the standard deviation."""
    _, metric = of_key(name)
    return f"{metric.text(one.mean)} ± {metric.written(one.deviation)}"


def cells(name: str, one: Spread, *, change: bool = False, most: int | None = None) -> tuple[str, str, str, str, str]:
    """Return mean, deviation, range, interval ("-" where all folds agree) and the values, as they are written.

    Args:
        change: it is of differences, which have a sign, and are in points where a metric has a highest value.
        most: how many values are written.
    """
    _, metric = of_key(name)
    write = metric.difference if change else metric.written
    middle = f"{metric.difference(one.mean, signed=True)}{metric.step}" if change else metric.text(one.mean)
    limits = f"{write(one.interval.low)} to {write(one.interval.high)}" if one.interval else "-"
    shown = ", ".join(write(value) for value in one.values[:most])
    more = ", ..." if most is not None and most < len(one.values) else ""
    return middle, write(one.deviation), f"{write(one.low)} to {write(one.high)}", limits, shown + more


def dots(stages: Sequence[Stage], name: str) -> Mapping[str, list[float]]:
    """Return stage -> the places of its folds' values, 0 to 100, on one scale for all; nothing where none has any."""
    found = {stage.name: stage.metrics[name] for stage in stages if name in stage.metrics}
    if not found:
        return {}
    low, high = min(one.low for one in found.values()), max(one.high for one in found.values())
    width = high - low or 1.0
    return {stage: [round(100 * (value - low) / width, 2) for value in one.values] for stage, one in found.items()}


def write(found: Folds, folder: Path) -> None:
    """Write cv.html, then cv.json."""
    from pipeline.report import folds
    from pipeline.report.page import templates

    beside = folder / f".{PAGE}"
    beside.write_text(templates().get_template("folds.html").render(found=found, folds=folds, words=words), "utf-8")
    beside.replace(folder / PAGE)
    write_json(folder / JSON, found.model_dump(mode="json", by_alias=True))


def read(folder: Path) -> Folds:
    """Return what `write` wrote."""
    return Folds.model_validate_json((folder / JSON).read_bytes())
