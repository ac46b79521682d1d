"""The arithmetic of the page's figures; the template draws them as SVG.

Drawn by hand and not by matplotlib: importing it takes as long as all the rest of a run that reuses everything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


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


def training(history: Mapping[str, Sequence[float]], width: float, height: float) -> list[Chart]:
    """Return the charts of loss and accuracy, each with a curve for training and one for validation.

    Args:
        history: metric -> one value per epoch; `loss` and `accuracy` and their `val_` twins are drawn.
        width, height: of the area of the curves, in the units of the SVG.
    """
    charts = []
    for metric in ("loss", "accuracy"):
        found = {label: history.get(key) for label, key in (("training", metric), ("validation", f"val_{metric}"))}
        series = {label: values for label, values in found.items() if values}
        if not series:
            continue
        low = min(min(values) for values in series.values())
        high = max(max(values) for values in series.values())
        epochs = max(len(values) for values in series.values())

        def points(values: Sequence[float], low: float = low, high: float = high, epochs: int = epochs) -> str:
            across = width / max(epochs - 1, 1)
            up = height / ((high - low) or 1.0)
            return " ".join(f"{i * across:.1f},{height - (value - low) * up:.1f}" for i, value in enumerate(values))

        curves = tuple(Curve(label, points(values)) for label, values in series.items())
        charts.append(Chart(metric, epochs, low, high, curves))
    return charts
