"""The arithmetic of the page's figures; the template draws them as SVG.

Drawn by hand and not by matplotlib: importing it takes as long as all the rest of a run that reuses everything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.report.document import Report
from pipeline.report.model import Histogram, Model


@dataclass(frozen=True)
class Curve:
    """One line of a chart: `points` are "x,y x,y ..." within the chart's width and height, y downwards."""

    label: str
    points: str


@dataclass(frozen=True)
class Chart:
    """A line chart over the epochs, with the values at its lower and upper edge."""

    title: str
    epochs: int
    low: float
    high: float
    curves: tuple[Curve, ...]


def lines(title: str, found: Mapping[str, Sequence[float] | None], width: float, height: float) -> Chart | None:
    """Return a chart with a curve for each label that has values; None where none has.

    Args:
        found: label -> one value per epoch.
        width, height: of the area of the curves, in the units of the SVG.
    """
    series = {label: values for label, values in found.items() if values}
    if not series:
        return None
    low = min(min(values) for values in series.values())
    high = max(max(values) for values in series.values())
    epochs = max(len(values) for values in series.values())
    across, up = width / max(epochs - 1, 1), height / ((high - low) or 1.0)

    def points(values: Sequence[float]) -> str:
        return " ".join(f"{i * across:.1f},{height - (value - low) * up:.1f}" for i, value in enumerate(values))

    return Chart(title, epochs, low, high, tuple(Curve(label, points(values)) for label, values in series.items()))


def training(history: Mapping[str, Sequence[float]], width: float, height: float) -> list[Chart]:
    """Return the charts of loss and accuracy, each with a curve for training and one for validation.

    Args:
        history: metric -> one value per epoch; `loss` and `accuracy` and their `val_` twins are drawn.
        width, height: of the area of the curves, in the units of the SVG.
    """
    charts = [
        lines(metric, {"training": history.get(metric), "validation": history.get(f"val_{metric}")}, width, height)
        for metric in ("loss", "accuracy")
    ]
    return [chart for chart in charts if chart]


def histories(report: Report) -> dict[str, Mapping[str, list[float]]]:
    """Return the curves of every model that was trained, by its name; of the first stage where no model is known."""
    found = {model.name: model.training for model in report.models if model.training}
    return {**found} or ({"train": report.training} if report.training else {})


def taught(student: Model, alone: Model, width: float, height: float) -> Chart | None:
    """Return the validation accuracy of a student with a teacher and of the one trained alone, in one chart."""
    values = {"taught": student.training.get("val_accuracy"), "alone": alone.training.get("val_accuracy")}
    return lines("validation accuracy", values, width, height)


def outline(histogram: Histogram, width: float, height: float) -> str:
    """Return the path of a histogram's bars as one closed shape; the highest is as high as the area."""
    tallest = max(histogram.counts, default=0) or 1
    step = width / max(len(histogram.counts), 1)
    steps = [
        f"V{height - height * count / tallest:.1f}H{step * (i + 1):.1f}" for i, count in enumerate(histogram.counts)
    ]
    return f"M0 {height:g}{''.join(steps)}V{height:g}Z"
