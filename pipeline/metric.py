"""The metrics that a model can be judged by: for which tasks, which way is better, and how they are written.

A metric's name is its key in report.json, where the name of the head stands before it if there are several:
`f1`, `f1.ham` (of one class), `top_5_accuracy`, `digit_accuracy`. The values are made in `pipeline/scoring/`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

MOST_CLASSES = 20  # of more classes (or values) each one's own metrics are not listed, except the one that is chosen

_CLASSES = ("classification", "multilabel")
_VALUES = ("regression", "reconstruction")


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        name: its key in report.json.
        noun: what it is called in sentences.
        tasks: of the heads that have it.
        form: a share of samples, written in per cent; a plain number; or a number in the units of the data.
        lower: whether less is better.
        most: the highest value, None where there is none; of a metric that has one differences are told in points, each
            a hundredth.
        least: the lowest value, None where there is none.
        of: the class, or the place of the value, that it is of alone; else empty.
    """

    name: str
    noun: str
    tasks: tuple[str, ...]
    form: Literal["percent", "plain", "units"] = "percent"
    lower: bool = False
    most: float | None = 1.0
    least: float | None = 0.0
    of: str = ""

    def worth(self, value: float) -> float:
        """Return a number of which more is always better."""
        return -value if self.lower else value

    def lost(self, before: float, after: float) -> float:
        """Return how much worse `after` is, in the metric's own unit; negative where it is better."""
        return after - before if self.lower else before - after

    @property
    def unit(self) -> str:
        return " %" if self.form == "percent" else ""

    def written(self, value: float) -> str:
        """Return a value without its unit: a number of per cent, or the number itself."""
        if self.form == "percent":
            return f"{100 * value:.1f}"
        return f"{value:.4g}" if self.form == "units" else f"{value:.4f}"

    def text(self, value: float) -> str:
        """Return a value with its unit."""
        return f"{self.written(value)}{self.unit}"

    def shown(self, value: float) -> str:
        """Return a value with what it is, to the hundredth of a per cent: "97.22%", "R2 0.4312"."""
        found = f"{value:.2%}" if self.form == "percent" else self.written(value)
        return found if self.name == "accuracy" else f"{self.noun} {found}"

    @property
    def scale(self) -> float:
        """What a difference is multiplied by to be told in `step`."""
        return 1.0 if self.most is None else 100.0

    @property
    def step(self) -> str:
        """In what a difference is told: " points", hundredths; or nothing, in the metric's own unit."""
        return "" if self.most is None else " points"

    def difference(self, value: float, *, signed: bool = False) -> str:
        """Return a difference without its step: 1.2 of points, or 0.0312."""
        value = round(self.scale * value, 1) + 0.0 if self.most is not None else value + 0.0  # -0.0 + 0.0 is 0.0
        return f"{value:{'+' if signed else ''}{'.1f' if self.most is not None else '.4g'}}"


_ALL = (
    Metric("accuracy", "accuracy", _CLASSES),
    Metric("balanced_accuracy", "balanced accuracy", ("classification",)),
    Metric("precision", "precision", _CLASSES),
    Metric("recall", "recall", _CLASSES),
    Metric("f1", "F1", _CLASSES),
    Metric("precision_weighted", "weighted precision", _CLASSES),
    Metric("recall_weighted", "weighted recall", _CLASSES),
    Metric("f1_weighted", "weighted F1", _CLASSES),
    Metric("roc_auc", "ROC AUC", (*_CLASSES, "anomaly"), "plain"),
    Metric("average_precision", "average precision", ("anomaly",), "plain"),
    Metric("calibration_error", "calibration error", ("classification",), lower=True),
    Metric("log_loss", "log loss", ("classification",), "plain", lower=True, most=None),
    Metric("r2", "R2", _VALUES, "plain", least=None),
    Metric("mse", "mean squared error", (*_VALUES, "anomaly"), "units", lower=True, most=None),
    Metric("mae", "mean absolute error", _VALUES, "units", lower=True, most=None),
)
METRICS: Mapping[str, Metric] = {one.name: one for one in _ALL}

# what a head is judged by where the recipe does not say
DEFAULTS: Mapping[str, str] = {
    "classification": "accuracy", "multilabel": "f1", "regression": "r2", "reconstruction": "r2", "anomaly": "roc_auc",
}  # fmt: skip
# those that a class has by itself, or a value of several
OF_ONE: Mapping[str, tuple[str, ...]] = {
    "classification": ("precision", "recall", "f1"), "multilabel": ("precision", "recall", "f1", "roc_auc"),
    "regression": ("r2", "mse", "mae"),
}  # fmt: skip

_TOP = re.compile(r"top_([1-9]\d*)_accuracy")


def find(name: str) -> Metric | None:
    """Return the metric of a name without a head's, None where there is none: "f1", "f1.ham", "top_3_accuracy"."""
    if name in METRICS:
        return METRICS[name]
    if match := _TOP.fullmatch(name):
        return Metric(name, f"top-{match.group(1)} accuracy", ("classification",))
    base, dot, of = name.partition(".")
    tasks = tuple(task for task, names in OF_ONE.items() if base in names)
    if not (dot and of and tasks):
        return None
    whole = METRICS[base]
    which = f"value {of}" if tasks == ("regression",) else of
    return replace(whole, name=name, noun=f"{whole.noun} of {which}", tasks=tasks, of=of)


def of_key(key: str) -> tuple[str, Metric]:
    """Return the head's name, empty where the model has one, and the metric of a key in report.json.

    Raises:
        KeyError: it is none.
    """
    starts = [0, *(match.end() for match in re.finditer("_", key))]
    for start in starts:  # the longest that is a metric's: digit_balanced_accuracy is no accuracy of "digit_balanced"
        if found := find(key[start:]):
            return key[: start - 1] if start else "", found
    raise KeyError(key)


def top(name: str) -> int | None:
    """Return the K of top_K_accuracy, None for other metrics."""
    match = _TOP.fullmatch(name)
    return int(match.group(1)) if match else None


def names(task: str) -> list[str]:
    """Return the names that a head of a task can be judged by, those of single classes and values as `f1.CLASS`."""
    found = [one.name for one in _ALL if task in one.tasks]
    found += ["top_5_accuracy"] if task == "classification" else []
    of = "VALUE" if task == "regression" else "CLASS"
    return found + [f"{name}.{of}" for name in OF_ONE.get(task, ())]


def problem(name: str, task: str | None, classes: Sequence[str] | None = None, values: int | None = None) -> str | None:
    """Return why nothing of a task is judged by a metric of this name, None where it can be.

    Args:
        task: None where it is not known yet.
        classes: None where they are not known yet.
        values: how many a regression predicts, None where it is not known.
    """
    found = find(name)
    tasks = [task] if task else list(DEFAULTS)
    known = ", ".join(dict.fromkeys(one for each in tasks for one in names(each)))
    if found is None:
        return f"there is no metric {name!r}; there are {known}"
    if task is None:
        return None
    if task not in found.tasks:
        return f"{name!r} is no metric of a {task}; there are {known}"
    if found.of and task == "regression" and values is not None:
        if not found.of.isdecimal() or int(found.of) >= values or values == 1:
            there = f"values 0 to {values - 1}" if values > 1 else "one value, whose metric has no number"
            return f"{name!r} is of the value {found.of}, and there are {there}"
    elif found.of and classes is not None and found.of not in classes:
        return f"{name!r} is of the class {found.of}, and there are {', '.join(classes)}"
    if (most := top(name)) and classes is not None and most >= len(classes):
        return f"{name!r} needs more than {most} classes, and there are {len(classes)}"
    return None
