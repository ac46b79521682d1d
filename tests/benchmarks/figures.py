"""Accuracy against size and latency, and latency against size, of what the benchmarks found.

    python -m tests.benchmarks.figures [--results FOLDER] [--out FOLDER]

Reads mnist_tiny.json, cifar10.json and peers.json, writes accuracy-by-size.svg, accuracy-by-latency.svg and
latency-by-size.svg. Needs the extra `benchmarks` (matplotlib). The same findings make the same bytes.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.errors import MissingError
from tests.benchmarks import commands
from tests.benchmarks.findings import RESULTS, Findings

DOCS = Path(__file__).parents[2] / "docs"
OURS, OTHERS, FLOAT, INK = "#0b6e4f", "#b5651d", "#888888", "#333333"
WIDTH, HEIGHT = 5.6, 5.4  # of a panel, in inches
SAID = {
    "size": "kB after gzip (less is better)", "latency": "p50 of one sample, us, one thread (less is better)",
    "accuracy": "accuracy on the test split, %",
}  # fmt: skip
POINTS = 2.0  # of accuracy that an axis spans at least, so that noise does not look like a difference
NEAR = 0.045  # of an axis: marks that are nearer have one number together


class Point(NamedTuple):
    """A model: its accuracy in percent, size in kB after gzip, p50 of one sample in microseconds."""

    label: str
    accuracy: float
    size: float
    latency: float
    ours: bool
    onnx: bool = False


def mnist(results: Path) -> Iterator[Point]:
    """Yield the sides of mnist_tiny, means over the seeds."""
    sides = Findings("mnist_tiny", "", results).sides
    times = sides["times"]
    tutorial = [side for name, side in sides.items() if name.startswith("tutorial, pruned")]
    recipe = [side for name, side in sides.items() if name.startswith("mnist-tiny")]
    files = {"tutorial, float32": ("baseline.tflite", "baseline.h5"),
             "tutorial, pruned and quantized": ("pruned_quantized.tflite",) * 2}  # fmt: skip
    for name, (answers, size) in files.items():
        right = statistics.mean(side["accuracy"][answers] for side in tutorial)
        gzipped = round(statistics.mean(side["gzip_bytes"][size] for side in tutorial))
        yield Point(f"TF-MOT's {name}", 100 * right, gzipped / 1000, 1000 * times[name]["p50_ms"][0], ours=False)
    right = statistics.mean(side["accuracy"] for side in recipe)
    gzipped = round(statistics.mean(side["gzip_bytes"] for side in recipe))
    yield Point(
        "mnist-tiny, int8", 100 * right, gzipped / 1000, 1000 * times["mnist-tiny, int8"]["p50_ms"][0], ours=True
    )


def cifar10(results: Path) -> Iterator[Point]:
    """Yield the sides of cifar10."""
    sides = Findings("cifar10", "", results).sides
    yield from _points(sides["answers"]["models"], sides["times"], lambda name: name.startswith("cifar10"))


def peers(network: str, results: Path) -> Iterator[Point]:
    """Yield the files of a network, of both runtimes."""
    sides = Findings("peers", "", results).sides
    times = {label: took for name, side in sides.items() if name.startswith(f"{network}, times") for label, took in
             side.items() if label != "load"}  # fmt: skip
    yield from _points(sides[f"{network}, answers"]["models"], times, lambda name: name.startswith("modelmill"))


def _points(models: dict[str, Any], times: dict[str, Any], ours: Any) -> Iterator[Point]:
    for name, one in models.items():
        if "p50_ms" in times[name]:
            latency = 1000 * times[name]["p50_ms"][0]
            onnx = "onnx" in name
            yield Point(name, 100 * one["accuracy"], one["gzip_bytes"] / 1000, latency, ours(name), onnx)


def draw(panels: dict[str, list[Point]], across: str, up: str, path: Path) -> None:
    """Write a figure with a panel for each comparison; points are numbered, and named below."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "modelmill", "svg.fonttype": "none", "font.size": 10}):
        figure = Figure(figsize=(2 * WIDTH, HEIGHT * ((len(panels) + 1) // 2)), layout="constrained")
        for place, (title, points) in enumerate(panels.items(), start=1):
            axes = figure.add_subplot((len(panels) + 1) // 2, 2, place)
            axes.margins(0.12)
            for number, point in enumerate(points, start=1):
                color = FLOAT if "float32" in point.label else OURS if point.ours else OTHERS
                axes.plot(
                    getattr(point, across), getattr(point, up), "s" if point.onnx else "o", color=color, alpha=0.85,
                    markersize=8, label=f"{number}  {point.label}",
                )  # fmt: skip
            axes.set(title=title, xlabel=SAID[across], ylabel=SAID[up])
            for kind, axis in ((across, axes.xaxis), (up, axes.yaxis)):
                _scale(kind, axis)
            _number(axes, [(getattr(point, across), getattr(point, up)) for point in points])
            axes.grid(visible=True, which="both", color="#e6e6e6", linewidth=0.6)
            axes.set_axisbelow(True)
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, fontsize=8, frameon=False)
        figure.savefig(path, metadata={"Date": None, "Creator": None})


def _scale(kind: str, axis: Any) -> None:
    """Let accuracy span a few points at least, and all else be logarithmic, with marks that can be read."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

    if kind == "accuracy":
        low, high = axis.get_view_interval()
        if high - low < POINTS:
            axis.axes.set_ylim((low + high - POINTS) / 2, (low + high + POINTS) / 2)
        return
    (axis.axes.set_xscale if axis.axis_name == "x" else axis.axes.set_yscale)("log")
    low, high = axis.get_view_interval()
    shown = "125" if high > 6 * low else "12345678"  # first digits of the values that are written
    if high < 3 * low:  # a decade's marks would be too few
        axis.set_major_locator(MaxNLocator(5))
        axis.set_minor_locator(NullLocator())
        shown = "123456789"
    for which in (axis.set_major_formatter, axis.set_minor_formatter):
        which(FuncFormatter(lambda value, _: f"{value:g}" if f"{value:.0e}"[0] in shown else ""))


def _number(axes: Any, places: Sequence[tuple[float, float]]) -> None:
    """Write the numbers of marks beside them, those of marks that lie on each other together."""
    inside = axes.transData + axes.transAxes.inverted()
    left = dict(enumerate(inside.transform(places), start=1))
    while left:
        first = next(iter(left.values()))
        near = [number for number, place in left.items() if abs(place - first).max() < NEAR]
        at = max((tuple(left.pop(number)) for number in near), key=lambda place: place[0])
        axes.annotate(
            ", ".join(map(str, near)), at, xycoords="axes fraction", xytext=(7, 4 if len(near) == 1 else 11),
            textcoords="offset points", color=INK, fontsize=9,  # several are longer than the way to the next mark
        )  # fmt: skip


def main() -> None:
    """Draw the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=commands.existing, default=RESULTS, help="findings (default: the published)")
    parser.add_argument("--out", type=commands.folder, default=DOCS, help="where figures go (default: docs/)")
    given = parser.parse_args()
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingError("figures are drawn by matplotlib, which is not here", todo="pip install '.[benchmarks]'")
    panels = {
        "MNIST, beside TF-MOT's tutorial": list(mnist(given.results)),
        "CIFAR-10 (JPEG), beside MLPerf Tiny's ResNet-8": list(cifar10(given.results)),
        "a CNN on MNIST, int8 by several tools": list(peers("cnn", given.results)),
        "ResNet-8 on CIFAR-10 (JPEG), int8 by several tools": list(peers("resnet8", given.results)),
    }
    for across, up in (("size", "accuracy"), ("latency", "accuracy"), ("size", "latency")):
        draw(panels, across, up, given.out / f"{up}-by-{across}.svg")


if __name__ == "__main__":
    commands.ended(main)
