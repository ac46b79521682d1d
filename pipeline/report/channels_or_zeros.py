"""What whole channels removed bought beside what unstructured zeros bought, each against the stage before it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.bought import WEIGHTS
from pipeline.report.axis import Axis, logarithmic
from pipeline.report.document import Bought, Faster, Report
from pipeline.report.model import Interval, Model
from pipeline.report.quality import change
from pipeline.report.words import ratio, where

CHANNELS, ZEROS = "shrink", "prune"
_NAMES = {CHANNELS: "channels out", ZEROS: "zeros in"}
_SAME = 1.005  # a ratio below this, and above 1 over it, is shown as 1.00


@dataclass(frozen=True)
class Cell:
    """What one of the two bought, before over after; `at`, `low_at` and `high_at` are per cent of the width.

    `interval` is empty where the value is exact. `proven` is "better" or "worse" where the whole interval is on that
    side of 1, else "".
    """

    text: str
    interval: str
    proven: str
    at: float
    low_at: float
    high_at: float


@dataclass(frozen=True)
class Row:
    """One measure of both; a cell is None where it was not measured."""

    name: str
    cells: tuple[Cell | None, Cell | None]


@dataclass(frozen=True)
class Comparison:
    """`one` is where nothing changed, in per cent of the width; `quality` is what each lost, with its name first."""

    against: tuple[str, str]
    axis: Axis
    one: float
    rows: tuple[Row, ...]
    quality: tuple[str, tuple[Cell | None, Cell | None]] | None
    lines: tuple[str, str]


def comparison(report: Report) -> Comparison | None:
    """Return both side by side; None where the recipe had not both."""
    found = {one.stage: one for one in report.bought}
    if CHANNELS not in found or ZEROS not in found:
        return None
    both = found[CHANNELS], found[ZEROS]
    ratios = [_ratios(one) for one in both]
    edges = [edge for some in ratios for one in some.values() for edge in (one.value, one.low, one.high)]
    axis = logarithmic([*edges, 1.0], "{:g}x".format, room=1.08, ticks=5)
    names = dict.fromkeys(name for some in ratios for name in some)
    rows = [Row(name, (_cell(ratios[0].get(name), axis), _cell(ratios[1].get(name), axis))) for name in names]
    models = [next(m for m in report.models if m.stage == one.stage and not m.variant) for one in both]
    lost = [_lost(model) for model in models]
    noun = next((name for name, _ in filter(None, lost)), None)
    quality = (noun, (lost[0][1] if lost[0] else None, lost[1][1] if lost[1] else None)) if noun else None
    return Comparison(
        (both[0].against, both[1].against), axis, 100 * axis.at(1.0), tuple(rows), quality,
        (line(both[0]), line(both[1])),
    )  # fmt: skip


def _ratios(one: Bought) -> dict[str, Interval]:
    exact = {"MACs": one.macs_ratio, "parameters": one.parameters_ratio, "size, gzipped": one.size_ratio}
    found = {name: Interval(value=value, low=value, high=value) for name, value in exact.items() if value}
    for place in one.faster:
        name = f"latency, {where(place.runtime, place.protocol)}"
        found.setdefault(name, Interval(value=place.value, low=place.low, high=place.high))
    return found


def _cell(found: Interval | None, axis: Axis) -> Cell | None:
    if found is None:
        return None
    exact = found.low == found.high
    better = found.value > _SAME if exact else found.low > 1
    worse = found.value < 1 / _SAME if exact else found.high < 1
    return Cell(
        f"{found.value:.2f}x", "" if exact else f"{found.low:.2f} to {found.high:.2f}",
        "better" if better else "worse" if worse else "",
        *(100 * axis.at(edge) for edge in (found.value, found.low, found.high)),
    )  # fmt: skip


def _lost(model: Model) -> tuple[str, Cell] | None:
    """Return what the model is judged by, and how that changed against the stage before."""
    found = change(model, "drop_against_previous")
    if found is None:
        return None
    metric, drop, risen = found.metric, found.found, found.risen
    value, low, high = (metric.difference(edge, signed=True) for edge in (risen.value, risen.low, risen.high))
    proven = "worse" if drop.low > 0 else "better" if drop.high < 0 else ""
    return found.noun, Cell(f"{value}{metric.step}", f"{low} to {high}", proven, 0, 0, 0)


def line(one: Bought) -> str:
    """Return in a line what removed channels, or zeros, bought against which stage: work, size, and time where."""
    parts = [
        f"{ratio(one.macs_ratio)} fewer MACs" if one.macs_ratio > _SAME
        else "as many MACs" if one.macs_ratio > 1 / _SAME else f"{ratio(1 / one.macs_ratio)} more MACs",
        *_size(one.size_ratio),
    ]  # fmt: skip
    quick = [place for place in one.faster if place.low > 1]
    slow = [place for place in one.faster if place.high < 1]
    if quick:
        parts.append(f"faster: {_places(quick)}")
    else:
        without = ", since not both have files (export.stages: all makes them)" if WEIGHTS in (one.sizes or ()) else ""
        parts.append("nowhere proven faster" if one.faster else f"latency not compared{without}")
    if slow:
        parts.append(f"slower: {_places(slow)}")
    if quick and (even := [place for place in one.faster if place not in quick and place not in slow]):
        parts.append(f"no difference proven: {_places(even)}")
    against = f"against {one.against}"
    if (one.stage, one.against) == (ZEROS, CHANNELS):
        against += ", on top of what the channels left"
    return f"{one.stage} ({_NAMES[one.stage]}, {against}): {', '.join(parts)}"


def _size(found: float | None) -> list[str]:
    if not found:
        return []
    if found > _SAME:
        return [f"{ratio(found)} smaller"]
    return ["the same size"] if found > 1 / _SAME else [f"{ratio(1 / found)} larger"]


def _places(some: Iterable[Faster]) -> str:
    return ", ".join(f"{where(one.runtime, one.protocol)} {ratio(one.value)}" for one in some)
