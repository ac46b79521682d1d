"""Quality against size and against latency: the Pareto points, and where marks and their numbers stand."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.metric import Metric
from pipeline.report.axis import Axis, linear, logarithmic
from pipeline.report.document import Artifact, Report, Run
from pipeline.report.model import Interval
from pipeline.report.quality import quality
from pipeline.report.words import judging, kilobytes, milliseconds, where

WIDTH, HEIGHT = 256.0, 170.0  # of the area of the marks, in the units of the SVG
RADIUS = 5.0
_LABEL = (8.0, 12.0)  # width of a digit, height of a number
_RINGS = (14.0, 24.0, 35.0, 47.0, 60.0)
_ANGLES = (-45, 45, -135, 135, -90, 90, 0, 180, -20, 20, -160, 160, -70, 70, -110, 110)


@dataclass(frozen=True)
class Mark:
    """One artifact in a chart; all lengths in the units of the SVG, y downwards.

    Attributes:
        number: of the artifact in the report, from 1.
        form: its format, which decides the shape.
        low, high: y of the ends of the interval of what it is judged by.
        label: where the middle of its number stands.
        far: whether the number stands so far off that a line has to lead to it.
        best: whether no other is both as good and as cheap.
        said: its values in words.
    """

    number: int
    name: str
    form: str
    x: float
    y: float
    low: float
    high: float
    label: tuple[float, float]
    far: bool
    best: bool
    said: str


@dataclass(frozen=True)
class Tradeoff:
    """One chart. `front` are the corners of the line through the Pareto points, "x,y x,y ..."."""

    key: str
    title: str
    unit: str
    x: Axis
    y: Axis
    marks: tuple[Mark, ...]
    front: str


@dataclass(frozen=True)
class _Point:
    number: int
    artifact: Artifact
    cost: float
    quality: Interval
    said: str


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return which of (cost, gain) are on the front: no other costs no more and gains no less, and is not equal to it.

    Equal points are both on the front, or neither. In rising order of cost.
    """
    order = sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1]))
    front: list[int] = []
    for i in order:
        if not front or points[i][1] > points[front[-1]][1] or points[i] == points[front[-1]]:
            front.append(i)
    return front


def tradeoffs(report: Report) -> list[Tradeoff]:
    """Return the charts: quality against gzipped size, then against latency, one for each place that timed some.

    What has no quality, no size or no valid latency is in none; so is a chart of a single artifact.
    """
    sizes: list[_Point] = []
    places: dict[str, list[_Point]] = {}
    for number, artifact in enumerate(report.artifacts, start=1):
        if artifact.error:
            continue
        for place, run in enumerate(artifact.runs):
            right_is = quality(run)
            if right_is is None:
                continue
            right = f"{right_is.text} (95 % {right_is.low} to {right_is.high})"
            if place == 0 and artifact.gzip_bytes:
                said = f"{right} at {kilobytes(artifact.gzip_bytes)} kB"
                sizes.append(_Point(number, artifact, artifact.gzip_bytes / 1000, right_is.found, said))
            timed = run.single_stream()
            if timed and timed.valid:
                said = f"{right} at {milliseconds(timed.p50_ms)} ms"
                places.setdefault(_place(run), []).append(_Point(number, artifact, timed.p50_ms, right_is.found, said))
    found = [("size", "size", "gzip kB", sizes)]
    found += [(f"latency-{i}", place, "p50 ms, one sample", points) for i, (place, points) in enumerate(places.items())]
    every = [edge for *_, points in found for point in points for edge in (point.quality.low, point.quality.high)]
    if not every:
        return []
    metric = judging(report)[0]
    shares = metric.form == "percent"
    values = linear(every, lambda share: f"{100 * share:g} %" if shares else f"{share:g}", ticks=5, most=metric.most)
    return [_chart(*facts, values, metric) for facts in found if len(facts[-1]) > 1]


def _place(run: Run) -> str:
    name = where(run.runtime, run.protocol).removeprefix("served over ")
    return f"{name} ({run.target})" if run.protocol else name


def _chart(key: str, title: str, unit: str, points: Sequence[_Point], values: Axis, metric: Metric) -> Tradeoff:
    costs = logarithmic((point.cost for point in points), room=1.25, ticks=6)

    def up(value: float) -> float:
        return HEIGHT * (1 - values.at(value))

    spots = [(WIDTH * costs.at(point.cost), up(point.quality.value)) for point in points]
    front = pareto([(point.cost, metric.worth(point.quality.value)) for point in points])
    labels = place(spots, [len(str(point.number)) * _LABEL[0] for point in points])
    marks = tuple(
        Mark(
            number=point.number, name=point.artifact.id, form=point.artifact.format, x=x, y=y,
            low=up(point.quality.low), high=up(point.quality.high), label=label,
            far=math.dist((x, y), label) > _RINGS[0] + 1, best=i in front, said=point.said,
        )
        for i, (point, (x, y), label) in enumerate(zip(points, spots, labels, strict=True))
    )  # fmt: skip
    return Tradeoff(key, title, unit, costs, values, marks, _stairs([spots[i] for i in front]))


def _stairs(corners: Sequence[tuple[float, float]]) -> str:
    """Return a line that goes on at the same quality until the next point that is better."""
    line: list[tuple[float, float]] = []
    for x, y in corners:
        line += [(x, line[-1][1]), (x, y)] if line else [(x, y)]
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in line)


def place(spots: Sequence[tuple[float, float]], widths: Sequence[float]) -> list[tuple[float, float]]:
    """Return where the middle of each mark's label stands: near it, on no mark, on no other label and in the area.

    Greedy: the first free place around the mark, in rings; the last one tried where none is free.
    """
    taken = [(x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS) for x, y in spots]
    labels: list[tuple[float, float]] = []
    for (x, y), width in zip(spots, widths, strict=True):
        middle = x, y
        for middle in _around(x, y):
            box = (middle[0] - width / 2, middle[1] - _LABEL[1] / 2, middle[0] + width / 2, middle[1] + _LABEL[1] / 2)
            inside = box[0] >= 0 and box[1] >= -_LABEL[1] and box[2] <= WIDTH and box[3] <= HEIGHT
            if inside and not any(_overlap(box, other) for other in taken):
                break
        labels.append(middle)
        taken.append(box)
    return labels


def _around(x: float, y: float) -> Iterator[tuple[float, float]]:
    for ring in _RINGS:
        for angle in _ANGLES:
            yield x + ring * math.cos(math.radians(angle)), y + ring * math.sin(math.radians(angle))


def _overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def fronts(charts: Sequence[Tradeoff], number: int) -> list[str]:
    """Return the titles of the charts in which an artifact is a Pareto point."""
    return [chart.title for chart in charts if any(mark.best and mark.number == number for mark in chart.marks)]
