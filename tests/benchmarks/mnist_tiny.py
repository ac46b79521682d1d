"""The recipe mnist-tiny against TF-MOT's own tutorial: `python -m tests.benchmarks.mnist_tiny`.

    python -m tests.benchmarks.mnist_tiny --data mnist.npz --work FOLDER

For each seed the recipe runs until its files are exported, and tfmot_tutorial.py does by hand what TF-MOT's guide does.
Both sides' last files answer the whole test split in LiteRT. Sizes are those after gzip at level 9; the ratio is to the
tutorial's own baseline file: baseline.h5, its float model without the optimizer. Then the files of the first seed are
timed in turns. Stopped and given again, it goes on: findings are in FOLDER/mnist_tiny.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pipeline import data, recipe
from tests.benchmarks import commands, findings
from tests.benchmarks.answers import answers
from tests.benchmarks.findings import Findings

RECIPE, SCRIPT = "mnist-tiny", Path(__file__).parent / "tfmot_tutorial.py"
BASELINE, TUTORIAL, OURS = "tutorial, float32", "tutorial, pruned and quantized", "mnist-tiny, int8"
# what sizes are compared with, and what answers for the baseline: a .h5 is no file of LiteRT's
KERAS, FLOAT, SMALL = "baseline.h5", "baseline.tflite", "pruned_quantized.tflite"
INT8 = "quantize.tflite.int8"


def main() -> None:
    """Run both for each seed, time their files and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=commands.existing_file, required=True, help="mnist.npz, in Keras' layout")
    parser.add_argument(
        "--work", type=commands.folder, required=True, help="where findings, files, runs and their store go"
    )
    parser.add_argument("--seeds", type=_seeds, default="0,1,2", help="of both sides (default: 0,1,2)")
    commands.add_again(parser, "the times")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=VALUE", help="a key of the recipe")
    parser.add_argument(
        "--samples", type=commands.positive, default=60_000, help="training images of the tutorial, for a trial"
    )
    given = parser.parse_args()
    found = Findings("mnist_tiny", "python -m tests.benchmarks.mnist_tiny --data mnist.npz --work FOLDER", given.work)
    for seed in given.seeds:
        found.once(f"{OURS}, seed {seed}", partial(ours, given, seed), resolved(given, seed))
        found.once(f"{TUTORIAL}, seed {seed}", partial(tutorial, given, seed), given.samples)
    if given.again:
        found.again("times")
    timed = files(given, given.seeds[0])
    times = found.once("times", lambda: findings.bench(timed, given.work / "bench"), findings.contents(timed))
    print(found.told(), f"Seeds {', '.join(map(str, given.seeds))}.\n")
    print(table(found, given.seeds, times))


def _seeds(text: str) -> list[int]:
    if not all(seed.isdecimal() for seed in text.split(",")):
        raise argparse.ArgumentTypeError(f"expected numbers with commas between them, found {text}")
    return [int(seed) for seed in text.split(",")]


def tutorial(given: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Return what the tutorial's script prints."""
    asked = ["--data", given.data, "--out", given.work / f"tutorial-{seed}", "--seed", seed, "--samples", given.samples]
    ran = subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, asked)], check=True, stdout=subprocess.PIPE, text=True
    )  # fmt: skip
    told: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return told


def resolved(given: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Return what decides our side: the whole recipe, but for where its data lies."""
    asked = recipe.load(RECIPE, [f"data.path={given.data}", f"seed={seed}", *given.set]).model_dump(mode="json")
    del asked["data"]["path"]
    return asked


def ours(given: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Run the recipe; return the accuracy of its int8 file on the test split, and what report.json says of it."""
    overrides = [f"data.path={given.data}", f"seed={seed}", *given.set]
    report = findings.ran(RECIPE, overrides, given.work / f"ours-{seed}", given.work / "store")
    (made,) = [one for one in report["artifacts"] if one["id"] == INT8]
    config = recipe.load(RECIPE, overrides).data
    assert config is not None
    test: Any = data.load(config, given.work / "store").test
    right = answers(files(given, seed)[OURS], test.x).argmax(axis=1) == test.y
    keys = ("bytes", "gzip_bytes", "parameters", "macs", "sparsity")
    return {
        "seed": seed, "accuracy": float(right.mean()), "samples": len(right), **{key: made[key] for key in keys}
    }  # fmt: skip


def files(given: argparse.Namespace, seed: int) -> dict[str, Path]:
    """Return the files of a seed that LiteRT runs."""
    folder = given.work / f"tutorial-{seed}"
    int8 = given.work / f"ours-{seed}" / "artifacts" / f"{INT8}.tflite"
    return {BASELINE: folder / FLOAT, TUTORIAL: folder / SMALL, OURS: int8}


def table(found: Findings, seeds: Sequence[int], times: dict[str, Any]) -> str:
    """Return the figures of all sides, means over the seeds."""
    by_hand = [found.sides[f"{TUTORIAL}, seed {seed}"] for seed in seeds]
    compressed = [found.sides[f"{OURS}, seed {seed}"] for seed in seeds]
    baseline = [one["gzip_bytes"][KERAS] for one in by_hand]
    sides = {
        BASELINE: ([one["accuracy"][FLOAT] for one in by_hand], baseline, by_hand[0]["parameters"]),
        TUTORIAL: (
            [one["accuracy"][SMALL] for one in by_hand], [one["gzip_bytes"][SMALL] for one in by_hand],
            by_hand[0]["parameters"],
        ),
        OURS: (
            [one["accuracy"] for one in compressed], [one["gzip_bytes"] for one in compressed],
            compressed[0]["parameters"],
        ),
    }  # fmt: skip
    rows = []
    for name, (right, size, parameters) in sides.items():
        smaller = [whole / own for whole, own in zip(baseline, size, strict=True)]
        took = times[name]
        rows.append((
            name, f"{statistics.mean(right):.2%}", ", ".join(f"{100 * one:.2f}" for one in right), f"{parameters:,}",
            ", ".join(f"{one:,}" for one in size), f"{statistics.mean(smaller):.1f}x",
            f"{1000 * took['p50_ms'][0]:.1f}", f"{took['p50_ms_n']:,}", findings.told_ratio(took["ratio"]),
            findings.told_ratio(took["throughput_ratio"]),
        ))  # fmt: skip
    head = (
        "model", "accuracy", "each seed, %", "parameters", "gzip bytes, each seed", "smaller", "p50 us", "queries",
        "times as fast", "batches of 32",
    )  # fmt: skip
    return findings.table(head, rows)


if __name__ == "__main__":
    commands.ended(main)
