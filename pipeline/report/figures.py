"""The arithmetic of the page's curves and histograms; the templates draw them as SVG.

Drawn by hand and not by matplotlib: importing it takes as long as all the rest of a run that reuses everything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.report import several
from pipeline.report.axis import Axis, Tick, linear, logarithmic
from pipeline.report.document import Report
from pipeline.report.model import Histogram
from pipeline.report.variants import Pair
from pipeline.report.words import noun, number

WIDTH, HEIGHT = 256.0, 140.0  # of the area of the curves, in the units of the SVG
_POINTS = 300  # of a curve at most: more are narrower than a pixel, and a page holds many curves
_USUAL = ("accuracy", "r2")  # what Keras counts in every fit
_LOG_FROM = 20  # a loss that falls by more than this is drawn in equal ratios


@dataclass(frozen=True)
class Curve:
    """One line of a chart: `points` are "x,y x,y ..." within the area, y downwards; `last` its last value."""

    label: str
    points: str
    last: float


@dataclass(frozen=True)
class Chart:
    """A line chart over the epochs; `said` tells in words what it shows."""

    title: str
    x: Axis
    y: Axis
    curves: tuple[Curve, ...]
    said: str


def lines(title: str, found: Mapping[str, Sequence[float] | None]) -> Chart | None:
    """Return a chart with a curve for each label that has values; None where none has.

    Args:
        found: label -> one value per epoch.
    """
    series = {label: values for label, values in found.items() if values}
    if not series:
        return None
    every = [value for values in series.values() for value in values]
    falls = min(every) > 0 and max(every) / min(every) > _LOG_FROM
    y = logarithmic(every, number, room=1.05, ticks=5) if falls else linear(every, number)
    x = _epochs(max(len(values) for values in series.values()))

    def curve(label: str, values: Sequence[float]) -> Curve:
        kept = range(0, len(values), -(-len(values) // _POINTS))
        places = dict.fromkeys([*kept, len(values) - 1])
        points = " ".join(f"{WIDTH * x.at(i + 1):.1f},{HEIGHT * (1 - y.at(values[i])):.1f}" for i in places)
        return Curve(label, points, values[-1])

    ends = ", ".join(f"{label} from {number(values[0])} to {number(values[-1])}" for label, values in series.items())
    said = f"{title} over {int(x.high)} epochs{', in equal ratios' if falls else ''}: {ends}"
    return Chart(title, x, y, tuple(curve(label, values) for label, values in series.items()), said)


def _epochs(count: int) -> Axis:
    """Return an axis from the first epoch to the last, both with a tick."""
    if count == 1:
        return Axis(1, 2, False, (Tick(0.0, "1"),))
    step = next(step for power in range(9) for factor in (1, 2, 5) if (step := factor * 10**power) * 5 >= count)
    between = [epoch for epoch in range(step, count, step) if epoch > 1 and count - epoch >= 0.6 * step]
    return Axis(1, count, False, tuple(Tick((epoch - 1) / (count - 1), str(epoch)) for epoch in [1, *between, count]))


def training(history: Mapping[str, Sequence[float]]) -> list[Chart]:
    """Return the charts of loss, then of accuracy or R2, each with a curve for training and one for validation.

    Args:
        history: metric -> one value per epoch; those with a `val_` twin are drawn, and what has validation alone.
    """
    watched = (name.removeprefix("val_") for name in history if name.startswith("val_"))
    charts = [
        lines(metric, {"training": history.get(metric), "validation": history.get(f"val_{metric}")})
        for metric in dict.fromkeys(("loss", *_USUAL, *watched))
    ]
    return [chart for chart in charts if chart]


def histories(report: Report) -> dict[str, Mapping[str, list[float]]]:
    """Return the curves of every model that was trained, by its name; of the first stage where no model is known."""
    found = {model.name: model.training for model in report.models if model.training} | several.curves(report)
    return {**found} or ({"train": report.training} if report.training else {})


def both(pair: Pair) -> Chart | None:
    """Return what a stage's model and a variant of it are judged by on validation, in one chart."""
    model, names = pair.model, pair.words.curves
    metric = next((name for name in (*model.judged, *_USUAL) if f"val_{name}" in model.training), "accuracy")
    values = [one.training.get(f"val_{metric}") for one in (model, pair.other)]
    return lines(f"validation {noun(metric)}", dict(zip(names, values, strict=True)))


def outline(histogram: Histogram, width: float, height: float) -> str:
    """Return the path of a histogram's bars as one closed shape; the highest is as high as the area."""
    tallest = max(histogram.counts, default=0) or 1
    step = width / max(len(histogram.counts), 1)
    steps = [
        f"V{height - height * count / tallest:.1f}H{step * (i + 1):.1f}" for i, count in enumerate(histogram.counts)
    ]
    return f"M0 {height:g}{''.join(steps)}V{height:g}Z"
