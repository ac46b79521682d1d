"""The arithmetic of tune.html's figures; the template draws them as SVG."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from pipeline.report.axis import Axis, Tick, linear, logarithmic
from pipeline.report.tuning import Objective, Trial, Tuning, entry, value

WIDTH, HEIGHT = 256.0, 160.0  # of the area of the marks, in the units of the SVG
COLUMN, TALL = 190.0, 200.0  # of the parallel axes: how far apart, and how high
_TICKS = 5
_MOST_CHOICES = 8  # whose names fit below an axis


@dataclass(frozen=True)
class Mark:
    """One trial; `best` is filled. Lengths are in the units of the SVG, y downwards."""

    number: int
    x: float
    y: float
    best: bool
    said: str


@dataclass(frozen=True)
class Plot:
    """One chart of trials; `line` are corners "x,y x,y ...", empty where there is none."""

    key: str
    title: str
    x_title: str
    y_title: str
    x: Axis
    y: Axis
    marks: tuple[Mark, ...]
    line: str
    said: str


@dataclass(frozen=True)
class Column:
    """One of the parallel axes."""

    title: str
    x: float
    axis: Axis


@dataclass(frozen=True)
class Thread:
    """One trial's line through the parallel axes."""

    number: int
    points: str
    best: bool
    said: str


def histories(found: Tuning) -> list[Plot]:
    """Return for each objective its value over the trials; of a single one with the best so far."""
    plots = []
    for one in found.objectives:
        done = found.done()
        if not done:
            continue
        values = {trial.number: (trial.values or {})[one.name] for trial in done}
        x = _counted([trial.number for trial in done])
        y = _axis(list(values.values()), one.bare)
        line: list[tuple[float, float]] = []
        best: float | None = None
        for number, got in values.items():
            best = got if best is None else max(best, got) if one.direction == "maximize" else min(best, got)
            spot = (WIDTH * x.at(number), HEIGHT * (1 - y.at(best)))
            line += [(spot[0], line[-1][1]), spot] if line else [spot]
        said = f"{one.noun} of {len(done)} trials: the first {one.written(next(iter(values.values())))}"
        plots.append(
            Plot(
                f"history-{one.name}", one.noun, "trial", _way(one), x, y,
                tuple(
                    Mark(
                        trial.number, WIDTH * x.at(trial.number), HEIGHT * (1 - y.at(values[trial.number])),
                        _is_best(found, trial), f"trial {trial.number}: {one.written(values[trial.number])}",
                    )
                    for trial in done
                ),
                _points(line), f"{said}, the best {one.written(best)}" if best is not None else said,
            )
        )  # fmt: skip
    return plots


def fronts(found: Tuning) -> list[Plot]:
    """Return a chart for each pair of objectives, the Pareto trials filled; none where there is one objective."""
    done, plots = found.done(), []
    for up, across in combinations(found.objectives, 2):
        if not done:
            continue
        ups, acrosses = ([(trial.values or {})[one.name] for trial in done] for one in (up, across))
        x, y = _axis(acrosses, across.bare), _axis(ups, up.bare)
        marks = tuple(
            Mark(
                trial.number, WIDTH * x.at(right), HEIGHT * (1 - y.at(high)), _is_best(found, trial),
                f"trial {trial.number}: {up.noun} {up.written(high)}, {across.noun} {across.written(right)}",
            )
            for trial, high, right in zip(done, ups, acrosses, strict=True)
        )  # fmt: skip
        corners = sorted((mark.x, mark.y) for mark in marks if mark.best)
        line = _points(corners) if len(found.objectives) == 2 else ""
        said = "; ".join(mark.said + (", a Pareto trial" if mark.best else "") for mark in marks)
        plots.append(
            Plot(
                f"front-{up.name}-{across.name}", f"{up.noun} against {across.noun}", _way(across), _way(up), x, y,
                marks, line, said,
            )
        )  # fmt: skip
    return plots


def slices(found: Tuning) -> list[Plot]:
    """Return for each key of the space the first objective over its values."""
    objective = found.objectives[0]
    plots = []
    for place, key in enumerate(found.space):
        done = [trial for trial in found.done() if key in trial.params]
        if not done:
            continue
        x, at = _of_key(found.space[key], [trial.params[key] for trial in done])
        values = [(trial.values or {})[objective.name] for trial in done]
        y = _axis(values, objective.bare)
        marks = tuple(
            Mark(
                trial.number, WIDTH * at(trial.params[key]), HEIGHT * (1 - y.at(got)), _is_best(found, trial),
                f"trial {trial.number}: {value(trial.params[key])}, {objective.written(got)}",
            )
            for trial, got in zip(done, values, strict=True)
        )  # fmt: skip
        said = f"{objective.noun} over {key}: " + "; ".join(mark.said for mark in marks)
        plots.append(Plot(f"slice-{place}", key, _how(found.space[key]), _way(objective), x, y, marks, "", said))
    return plots


def parallel(found: Tuning) -> tuple[list[Column], list[Thread]]:
    """Return an axis for each key and each objective, and a line for each trial; best ones last, so that they lie on
    top."""
    done = [trial for trial in found.done() if all(key in trial.params for key in found.space)]
    if len(done) < 2:
        return [], []
    columns: list[Column] = []
    places: list[list[float]] = []
    for key, wanted in found.space.items():
        axis, at = _of_key(wanted, [trial.params[key] for trial in done])
        columns.append(Column(key, COLUMN * len(columns), axis))
        places.append([at(trial.params[key]) for trial in done])
    for one in found.objectives:
        axis = _axis([(trial.values or {})[one.name] for trial in done], one.bare)
        columns.append(Column(f"{one.noun}{f' in {one.scale}' if one.scale else ''}", COLUMN * len(columns), axis))
        places.append([axis.at((trial.values or {})[one.name]) for trial in done])
    threads = [
        Thread(
            trial.number,
            _points([(column.x, TALL * (1 - place[i])) for column, place in zip(columns, places, strict=True)]),
            _is_best(found, trial),
            f"trial {trial.number}",
        )
        for i, trial in enumerate(done)
    ]
    return columns, sorted(threads, key=lambda thread: thread.best)


def _is_best(found: Tuning, trial: Trial) -> bool:
    return trial.number in found.pareto or trial.number == found.best


def _how(wanted: Any) -> str:
    """Return what stands below a key's axis: choices stand there by themselves."""
    return entry(wanted) if isinstance(wanted, Mapping) else ""


def _way(one: Objective) -> str:
    unit = f" in {one.scale}" if one.scale else ""
    return f"{one.noun}{unit}, {'more' if one.direction == 'maximize' else 'less'} is better"


def _axis(values: Sequence[float], form: Callable[[float], str]) -> Axis:
    return linear(values, form, ticks=_TICKS - 1)


def _counted(numbers: Sequence[int]) -> Axis:
    """Return an axis of whole numbers."""
    low, high = min(numbers), max(numbers)
    if low == high:
        return Axis(low - 1, high + 1, False, (Tick(0.5, str(low)),))
    step = max(1, -(-(high - low) // _TICKS))
    return Axis(low, high, False, tuple(Tick((at - low) / (high - low), str(at)) for at in range(low, high + 1, step)))


def _of_key(wanted: Any, values: Sequence[Any]) -> tuple[Axis, Callable[[Any], float]]:
    """Return the axis of a key, and where a value of it is."""
    if isinstance(wanted, Mapping):
        ends = [wanted["low"], wanted["high"], *values]
        axis = logarithmic(ends, value_form, ticks=_TICKS) if wanted["log"] else linear(ends, value_form, ticks=4)
        return axis, axis.at
    names = [value(choice) for choice in wanted]
    shown = names if len(names) <= _MOST_CHOICES else ["" for _ in names]
    ticks = tuple(Tick((place + 0.5) / len(names), _short(name)) for place, name in enumerate(shown))
    return Axis(0, len(names), False, ticks), lambda one: (names.index(value(one)) + 0.5) / len(names)


def value_form(number: float) -> str:
    """Return a tick's number: 0.001, 1e-05."""
    return f"{number:g}"


def _short(name: str) -> str:
    return name if len(name) <= 12 else f"{name[:11]}…"


def _points(corners: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
