"""How the latencies of one sample are distributed, per place: all files of a place share an axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Protocol

from pipeline.report.axis import Axis, logarithmic
from pipeline.report.document import Latency, Report
from pipeline.report.words import milliseconds, where

WIDTH, HEIGHT = 1000.0, 40.0  # of one row, in the units of the SVG
_SHOWN = 0.999  # the axis ends where this share of a row's queries has been answered


class Timed(Protocol):
    """What is said of the queries of a row."""

    @property
    def queries(self) -> int: ...
    @property
    def valid(self) -> bool: ...


@dataclass(frozen=True)
class Row:
    """One file's latencies.

    Attributes:
        median_ms, slow_ms: half and 99 % of all queries together were answered within, to a bucket's width.
        p50, p99: where these two are along the axis, in the units of the SVG.
        shape: path of the histogram, its highest bucket as high as the row.
        beyond: queries that were slower than the end of the axis.
        slowest_ms: upper edge of the last bucket.
    """

    name: str
    latency: Timed
    median_ms: float
    slow_ms: float
    shape: str
    p50: float
    p99: float
    beyond: int
    slowest_ms: float


@dataclass(frozen=True)
class Place:
    """All files that were timed in one place."""

    name: str
    note: str
    axis: Axis
    rows: tuple[Row, ...]

    @property
    def beyond(self) -> str:
        """The queries that the axis leaves out, in words; empty where there are none."""
        slow = [row for row in self.rows if row.beyond]
        return ", ".join(f"{row.beyond} of {row.name}, up to {milliseconds(row.slowest_ms)} ms" for row in slow)


Buckets = list[tuple[float, float, int]]  # lower and upper edge in milliseconds, queries; in rising order


def buckets(histogram: Mapping[str, Any]) -> Buckets:
    """Return the buckets of a histogram in report.json; none where it holds none."""
    step = histogram.get("buckets_per_octave", 1)
    counts = sorted((int(bucket), int(count)) for bucket, count in histogram.get("counts", {}).items())
    return [(2 ** (bucket / step) / 1e6, 2 ** ((bucket + 1) / step) / 1e6, count) for bucket, count in counts]


def reached(found: Buckets, share: float) -> float:
    """Return the upper edge of the bucket at which a share of all queries has been answered."""
    so_far = list(accumulate(count for *_, count in found))
    return next(high for (_, high, _), count in zip(found, so_far, strict=True) if count >= share * so_far[-1])


def distributions(report: Report) -> list[Place]:
    """Return each place in which files were timed, with its files in the report's order."""
    found: dict[tuple[str, str], list[tuple[str, Latency, Buckets]]] = {}
    for artifact in report.artifacts:
        for run in artifact.runs:
            latency = run.single_stream()
            if latency and (counted := buckets(latency.histogram)):
                note = "in this process" if run.target == "in-process" else f"target: {run.target}"
                found.setdefault((where(run.runtime, run.protocol), note), []).append((artifact.id, latency, counted))
    return [place(name, note, rows) for (name, note), rows in found.items()]


def place(name: str, note: str, rows: Sequence[tuple[str, Timed, Buckets]]) -> Place:
    """Return what was timed in one place, on one axis."""
    low = min(counted[0][0] for *_, counted in rows)
    high = max(reached(counted, _SHOWN) for *_, counted in rows)
    axis = logarithmic([low, high], room=1.02, ticks=6)
    return Place(name, note, axis, tuple(_row(name, latency, counted, axis) for name, latency, counted in rows))


def _row(name: str, latency: Timed, counted: Buckets, axis: Axis) -> Row:
    tallest = max(count for *_, count in counted)
    path, last = "", -1.0
    for low, high, count in counted:
        if low >= axis.high:
            continue
        left, right = WIDTH * axis.at(low), WIDTH * axis.at(high)
        top = HEIGHT * (1 - count / tallest)
        # from a bucket to its neighbour the outline stays up; a gap goes down to the ground
        path += f"V{top:.1f}" if abs(left - last) < 0.05 else f"{'Z' if path else ''}M{left:.1f} {HEIGHT:g}V{top:.1f}"
        path += f"H{right:.1f}"
        following = next((edge for edge, *_ in counted if edge > low), None)
        if following is None or abs(WIDTH * axis.at(following) - right) >= 0.05:
            path += f"V{HEIGHT:g}"
        last = right
    beyond = sum(count for low, _, count in counted if low >= axis.high)
    median, slow = reached(counted, 0.5), reached(counted, 0.99)
    marks = WIDTH * axis.at(median), WIDTH * axis.at(slow)
    return Row(name, latency, median, slow, path + "Z", *marks, beyond, counted[-1][1])
