"""All metrics of the reference and of the main result beside each other, per class too, and the curves behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.metric import METRICS, OF_ONE, Metric, of_key
from pipeline.report.answers import Answers
from pipeline.report.document import Report
from pipeline.report.model import Interval
from pipeline.report.quality import CHANGES, Judged

SIZE = 170.0  # of the square area of a curve, in the units of the SVG


@dataclass(frozen=True)
class Cell:
    """A value and the ends of its interval, written; all empty where a model has not the metric."""

    value: str = ""
    low: str = ""
    high: str = ""


@dataclass(frozen=True)
class Row:
    """A metric of each model that is shown; `judged`: it is what they are judged by, `lower`: less of it is better."""

    name: str
    judged: bool
    lower: bool
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Class:
    """A class, a label or a value; `samples` is None where they are not counted by it."""

    name: str
    samples: int | None
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Point:
    """One bin of the reliability diagram, in the units of the SVG, y downwards; `said` in words."""

    x: float
    y: float
    radius: float
    said: str


def shown(report: Report) -> list[tuple[str, Judged]]:
    """Return the name and the measurements of the reference and the main result, or of the first and the last model."""
    files = {item.id: item for item in report.artifacts}
    names = dict.fromkeys(name for name in (report.reference, report.final) if name)
    found: list[tuple[str, Judged]] = [
        (name, files[name].runs[0]) for name in names if name in files and files[name].runs
    ]
    if found:
        return found
    line = [model for model in report.models if model.metrics and not model.variant]
    ends = [line[0], line[-1]][: len(line)] if line else []
    return [(model.key, model) for model in ends]


def rows(report: Report) -> list[Row]:
    """Return the metrics of whole models, in the order of `pipeline.metric`."""
    columns = shown(report)
    keys = [key for key in _keys([one for _, one in columns]) if "." not in key]
    judged = {key for _, one in columns for key in one.judged}
    return [
        Row(
            _name(key),
            key in judged,
            of_key(key)[1].lower,
            tuple(_cell(key, one.metrics.get(key)) for _, one in columns),
        )
        for key in keys
    ]


def heads_of_classes(report: Report) -> list[str]:
    """Return what the main result has for each class, label or value: precision, recall, F1."""
    return [METRICS[name].noun for name in _of_one(report)]


def classes(report: Report) -> list[Class]:
    """Return what the main result is worth class by class; none where there is nothing of that kind."""
    if not (columns := shown(report)):
        return []
    metrics, names = columns[-1][1].metrics, _of_one(report)
    each = dict.fromkeys(of_key(key)[1].of for key in metrics if "." in key and not key.endswith(_ENDINGS))
    return [
        Class(one, _samples(report, one), tuple(_found(metrics, f"{name}.{one}") for name in names)) for one in each
    ]


def undefined(report: Report) -> list[str]:
    """Return what the test samples leave undefined, and why."""
    return [f"{_name(key)}: {why}" for key, why in (report.tested.undefined if report.tested else {}).items()]


def curves(report: Report) -> list[tuple[str, Answers]]:
    """Return what the models shown answered, of those that have curves."""
    found = [(name, report.tested.of(name)) for name, _ in shown(report)] if report.tested else []
    return [(name, one) for name, one in found if one and (one.roc or one.reliability)]


def roc(answers: Answers) -> str:
    """Return the ROC curve as "x,y x,y ...", within the square area, y downwards."""
    return " ".join(f"{SIZE * x:.1f},{SIZE * (1 - y):.1f}" for x, y in answers.roc)


def reliability(answers: Answers) -> list[Point]:
    """Return the bins of the reliability diagram; the area of a point grows with its samples."""
    most = max((count for *_, count in answers.reliability), default=1)
    return [
        Point(
            round(SIZE * sure, 1), round(SIZE * (1 - right), 1), round(2 + 5 * (count / most) ** 0.5, 1),
            f"{100 * sure:.1f} % sure, {100 * right:.1f} % right, {count} samples",
        )
        for sure, right, count in answers.reliability
    ]  # fmt: skip


_ENDINGS = tuple(f"_{change}" for change in CHANGES)


def _keys(models: Sequence[Judged]) -> list[str]:
    order = {name: place for place, name in enumerate(METRICS)}
    keys = dict.fromkeys(key for one in models for key in one.metrics if not key.endswith(_ENDINGS))

    def place(key: str) -> tuple[str, int]:
        head, metric = of_key(key)
        return head, order.get(metric.name, order["roc_auc"])

    return sorted(keys, key=place)


def _of_one(report: Report) -> list[str]:
    columns = shown(report)
    there = {_base(key) for key in columns[-1][1].metrics if "." in key} if columns else set()
    return [name for name in dict.fromkeys(name for names in OF_ONE.values() for name in names) if name in there]


def _base(key: str) -> str:
    return of_key(key)[1].name.partition(".")[0] if not key.endswith(_ENDINGS) else ""


def _found(metrics: Mapping[str, Interval], name: str) -> Cell:
    key = next((key for key in metrics if key == name or key.endswith(f"_{name}")), None)
    return _cell(key, metrics[key]) if key else Cell("-")


def _cell(key: str, found: Interval | None) -> Cell:
    if found is None:
        return Cell("-")
    metric: Metric = of_key(key)[1]
    return Cell(metric.text(found.value), metric.written(found.low), metric.written(found.high))


def _samples(report: Report, name: str) -> int | None:
    tested = report.tested
    if tested is None or name not in tested.classes or len(tested.support) != len(tested.classes):
        return None
    return tested.support[tested.classes.index(name)]


def _name(key: str) -> str:
    head, metric = of_key(key)
    return f"{head} {metric.noun}" if head else metric.noun
