"""How well the table of layer times predicts whole models: `python -m tests.benchmarks.layer_times [--json FILE]`.

For each model and runtime the table is measured once. Then channels are removed at several shares, everywhere or in
half of the groups, and each smaller model, converted as a whole, takes turns with the model that it came from. Prints
a table in Markdown: the share of the time that is left as predicted and as measured.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import legacy_keras
from pipeline.isolate import Child
from pipeline.measuring import layer_measuring, layer_plan, layer_times, layer_timing
from pipeline.measuring.layer_times_config import LatencyTarget
from pipeline.predictor import classifier

MODELS = ("resnet_8", "mobilenet_v2")
RUNTIMES = ("litert float32", "litert int8", "onnxruntime float32", "tensorflow float32")
# name -> share of the allowed widths of the groups at even and at odd places
WIDTHS = {
    "75 %": (0.75, 0.75),
    "50 %": (0.5, 0.5),
    "25 %": (0.25, 0.25),
    "even 30 %": (0.3, 1.0),
    "odd 30 %": (1.0, 0.3),
}
SPEC = classifier("image", (32, 32, 3), (0.0, 255.0), tuple("abcdefghij"))


@dataclass(frozen=True)
class Compared:
    """A smaller model: its share of the time as predicted by the table, by the MACs, and as measured."""

    model: str
    runtime: str
    widths: str
    predicted: float
    measured: float
    macs: float


def build(name: str) -> Any:
    """Return an untrained model for 32x32 images."""
    from models import mobilenet, resnet

    legacy_keras.load()
    if name == "resnet_8":
        return resnet.build(resnet.Config(), SPEC, 0)
    return mobilenet.build(mobilenet.Config(blocks=6, reduction=4), SPEC, 0)


def compare(name: str, runtime: str, folder: Path) -> tuple[layer_times.LayerTimes, float, list[Compared]]:
    """Return a model's table, the seconds that it took, and the smaller models beside it."""
    from pipeline.compress import channel_graph, importance, removal, widths
    from pipeline.formats import keras_file

    target = LatencyTarget.model_validate(
        {"share": 0.5} | dict(zip(("runtime", "precision"), runtime.split(), strict=True))
    )
    model = build(name)
    graph = channel_graph.follow(model)
    allowed = widths.allowed(graph, [layer.name for layer in model.layers], multiple=8, min_share=0.1, layers={})
    images = np.random.default_rng(0).uniform(0, 255, (16, 32, 32, 3)).astype(np.float32)
    whole = _written(keras_file, model, folder / "whole")
    entries, untimed = layer_plan.plan(model, graph, allowed, target.runtime)
    started = time.monotonic()
    measured = layer_measuring.measure(
        whole, entries, untimed, target, images, folder, tell=lambda done, of, item: print(done, of, item, end="\r")
    )
    seconds = time.monotonic() - started
    milliseconds = layer_times.cost(graph, measured.table)
    scores = importance.scores(graph, model, "l2")
    smaller, predicted, macs = {"whole": whole}, {}, {}
    for label, shares in WIDTHS.items():
        wanted = {
            group: some[round(shares[place % 2] * (len(some) - 1))]
            for place, (group, some) in enumerate(allowed.items())
        }
        kept = {group: np.sort(np.argsort(-scores[group])[:count]) for group, count in wanted.items()}
        smaller[label] = _written(keras_file, removal.remove(model, graph, kept), folder / label.replace(" ", "_"))
        predicted[label] = milliseconds(wanted) / milliseconds({})
        macs[label] = graph.macs(wanted) / graph.macs({})
    ratios = _ratios(smaller, target, images)
    return (
        measured.table,
        seconds,
        [Compared(name, runtime, label, predicted[label], ratios[label], macs[label]) for label in WIDTHS],
    )


def _written(keras_file: Any, model: Any, folder: Path) -> Path:
    folder.mkdir()
    keras_file.write(model, SPEC, folder)
    return folder


def _ratios(models: Mapping[str, Path], target: LatencyTarget, images: np.ndarray) -> dict[str, float]:
    """Return the median over many rounds of each model's time over the whole one's beside it."""
    with Child(deadline_s=600, memory_mb=None, threads=target.threads) as child:
        for folder in models.values():
            child.call(layer_timing.convert, folder, target, images, folder)
        times = child.call(layer_timing.time_wholes, list(models.values()), 5)
    first = times[0]
    return {
        label: statistics.median(each / whole for each, whole in zip(some, first, strict=True))
        for label, some in zip(models, times, strict=True)
    }


def table(found: Sequence[Compared]) -> str:
    """Return the comparison as a table in Markdown."""
    lines = ["| model | runtime | widths | MACs | predicted | measured | error |", "|---|---|---|---|---|---|---|"]
    for one in found:
        error = one.predicted / one.measured - 1
        lines.append(
            f"| {one.model} | {one.runtime} | {one.widths} | {one.macs:.1%} | {one.predicted:.1%} | {one.measured:.1%} "
            f"| {error:+.1%} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--runtimes", nargs="+", choices=RUNTIMES, default=RUNTIMES)
    parser.add_argument("--json", type=Path, help="file for the figures")
    asked = parser.parse_args()
    found, tables = [], {}
    for name in asked.models:
        for runtime in asked.runtimes:
            with tempfile.TemporaryDirectory() as folder:
                times, seconds, compared = compare(name, runtime, Path(folder))
            points = sum(len(row) for entry in times.entries for row in entry.ms)
            print(
                f"{name} {runtime}: {len(times.entries)} operations at {points} widths in {seconds:.0f} s; whole "
                f"{times.whole_ms:.3f} ms, sum of its layers {times.sum_ms:.3f} ms",
                flush=True,
            )
            found += compared
            tables[f"{name} {runtime}"] = times.model_dump(mode="json")
    print(table(found))
    errors = [abs(one.predicted / one.measured - 1) for one in found]
    by_macs = [abs(one.macs / one.measured - 1) for one in found]
    print(
        f"median error {statistics.median(errors):.1%}, largest {max(errors):.1%}; by MACs alone the median is ", end=""
    )
    print(f"{statistics.median(by_macs):.1%}")
    if asked.json:
        asked.json.write_text(json.dumps({"compared": [asdict(one) for one in found], "tables": tables}, indent=1))


if __name__ == "__main__":
    main()
