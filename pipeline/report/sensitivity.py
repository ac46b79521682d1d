"""What each layer loses by itself, as a heat map: layers by techniques and amounts, the worst first."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pipeline.compress.sensitivity_table import Sensitivity, Technique
from pipeline.metric import Metric, of_key
from pipeline.report.words import number

MOST_ROWS = 60
_SHADES = 5
# less than a point is never the darkest, however little the worst layer loses
_LEAST = 0.01


@dataclass(frozen=True)
class Cell:
    """What a layer loses; `shade` is 0 for nothing and up to 5 for most, `sure` where the whole interval is a loss."""

    text: str
    interval: str
    shade: int
    sure: bool


@dataclass(frozen=True)
class Row:
    """A layer; a cell is None where nothing was tried."""

    name: str
    cells: tuple[Cell | None, ...]
    worst: float


def sentence(table: Sensitivity) -> str:
    """Return what was tried, and how to read it."""
    metric = _metric(table)
    unit = "points of " if metric.step else ""
    return (
        f"One layer at a time, all others as they are and without fine-tuning: {unit}{metric.noun} lost against the "
        f"model of {table.stage}, which has {metric.text(table.quality)} on {number(table.samples)} samples of the "
        "validation split."
    )


def columns(table: Sensitivity) -> list[tuple[str, str]]:
    """Return each column's technique and amount in words."""
    return [(technique, _short(technique, amount)) for technique, amount in table.columns()]


def tried(table: Sensitivity, technique: Technique) -> bool:
    """Return whether a technique was tried on any layer."""
    return any(one.technique == technique for one in table.trials)


def rows(table: Sensitivity) -> list[Row]:
    """Return the layers, those first that lose most."""
    metric, wanted = _metric(table), table.columns()
    found = {(name, one.technique, one.amount): one.lost for one in table.trials for name in one.layers}
    most = max(_LEAST, *(lost.value for lost in found.values()))
    made = []
    for name in table.layers():
        cells: list[Cell | None] = []
        for technique, amount in wanted:
            lost = found.get((name, technique, amount))
            if lost is None:
                cells.append(None)
                continue
            interval = f"{metric.difference(lost.low)} to {metric.difference(lost.high)}{metric.step}"
            shade = max(0, math.ceil(_SHADES * lost.value / most - 1e-9))
            cells.append(Cell(metric.difference(lost.value), interval, shade, lost.low > 0))
        worst = max(found[name, *one].value for one in wanted if (name, *one) in found)
        made.append(Row(name, tuple(cells), worst))
    return sorted(made, key=lambda row: -row.worst)


def untouched(table: Sensitivity) -> list[str]:
    """Return in words what each technique left alone, and why."""
    lines = []
    for technique, reasons in table.untouched.items():
        by_reason: dict[str, list[str]] = {}
        for name, reason in reasons.items():
            by_reason.setdefault(reason, []).append(name)
        lines += [f"{technique} leaves {', '.join(names)} alone: {reason}" for reason, names in by_reason.items()]
    return lines


def _metric(table: Sensitivity) -> Metric:
    return of_key(table.metric)[1]


def _short(technique: Technique, amount: float) -> str:
    match technique:
        case "shrink":
            return f"{100 * amount:.4g} % stay"
        case "prune":
            return f"{100 * amount:.4g} % zeros"
        case "cluster":
            return f"{amount:g} weights"
        case "quantize":
            return f"int{amount:g}"
