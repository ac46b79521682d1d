"""How long a recipe's stages take, against a straight script of the same work: `python -m tests.benchmarks.stages`.

    python -m tests.benchmarks.stages digits
    python -m tests.benchmarks.stages mnist --set data.path=mnist.npz --epochs-share 0.15

The script is handwritten.py: TF-MOT, Keras 2, tf.lite and tf2onnx, and nothing of modelmill. Both take turns, each a
process of its own that starts with nothing: `modelmill run --until export` into a new store, and the script, which is
told how many epochs the run really made and which widths shrink chose, so that it does the same. Compared is the wall
time of the whole process, imports included. What measure and judge take has no counterpart in such a script and is left
out on both sides. Prints tables in Markdown.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from pipeline.students_t import geometric_mean

SCRIPT = "tests.benchmarks.handwritten"


class Took(NamedTuple):
    """Seconds of a process: on the wall, and of CPU, its children's too."""

    wall: float
    cpu: float


COMMAND = [sys.executable, "-m", "pipeline", "run"]
# sections that have epochs, and of them those that the script has too
FITS = ("train", "distill", "shrink", "prune", "quantize")


def shortened(recipe: str, overrides: Sequence[str], share: float) -> list[str]:
    """Return --set options that leave a share of each section's epochs, at least those needed, beside what is given."""
    options = [part for one in overrides for part in ("--set", one)]
    if share == 1:
        return options
    from pipeline import recipe as recipes

    resolved = recipes.load(recipe, list(overrides)).model_dump(mode="json")
    for name in FITS:
        if resolved.get(name):
            # how little is learned in few epochs is not what is compared
            options += ["--set", f"{name}.max_accuracy_loss=1"] if name != "train" else []
            least = 1 + resolved[name].get("freeze_ranges_epochs", 0)
            options += ["--set", f"{name}.epochs={max(least, round(share * resolved[name]['epochs']))}"]
    return options


def run(recipe: str, options: Sequence[str], folder: Path) -> tuple[Took, dict[str, Any]]:
    """Run a recipe with a store of its own and return the seconds of the process and its report."""
    shutil.rmtree(folder, ignore_errors=True)
    asked = [*COMMAND, recipe, *options, "--out", str(folder), "--store", str(folder / "store"), "--quiet"]
    asked += ["--until", "export"]
    took, code = _timed(asked)
    # a gate that fails on few epochs is no failure of the comparison
    if code not in (0, 1):
        raise SystemExit(f"modelmill ended with {code}: {' '.join(asked)}")
    return took, json.loads((folder / "report.json").read_text(encoding="utf-8"))


def task(folder: Path) -> dict[str, Any]:
    """Return what the script is given: a run's resolved recipe, and what it did."""
    recipe: dict[str, Any] = yaml.safe_load((folder / "recipe.yaml").read_text(encoding="utf-8"))
    models = {
        name: json.loads((folder / "stages" / name / "models.json").read_text(encoding="utf-8"))[0]
        for name in FITS
        if recipe.get(name)
    }
    summary = json.loads((folder / "stages" / "train" / "data.json").read_text(encoding="utf-8"))
    did: dict[str, Any] = {
        "samples": {name: part["samples"] for name, part in summary["splits"].items()},
        "epochs": {name: len(model["training"]["loss"]) for name, model in models.items()},
        "widths": None,
    }
    if "shrink" in models:
        did["widths"] = [group["after"] for group in models["shrink"]["channels"] if "logits" not in group["layers"]]
    return {**recipe, "did": did}


def script(given: Path, folder: Path, *more: str) -> tuple[Took, dict[str, Any]]:
    """Run the script and return the seconds of the process and what it printed."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    asked = [sys.executable, "-m", SCRIPT, str(given), str(folder), *more]
    with (
        (folder / "stderr").open("w", encoding="utf-8") as told,
        (folder / "stdout").open("w+", encoding="utf-8") as said,
    ):
        took, code = _timed(asked, stdout=said, stderr=told)
    if code:
        raise SystemExit(f"the script failed: {(folder / 'stderr').read_text(encoding='utf-8')[-2000:]}")
    found: dict[str, Any] = json.loads((folder / "stdout").read_text(encoding="utf-8").splitlines()[-1])
    return took, found


def _timed(asked: Sequence[str], **streams: Any) -> tuple[Took, int]:
    """Run a command and return what it took, and its exit code."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    code = subprocess.run(asked, check=False, **streams).returncode
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Took(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime), code


def _rows(ours: Sequence[tuple[Took, dict[str, Any]]], theirs: Sequence[tuple[Took, dict[str, Any]]]) -> list[str]:
    """Return the table's lines: each stage's median seconds on both sides."""
    mine = [
        {stage["name"]: stage["seconds"] for stage in report["stages"] if stage["status"] == "run"}
        for _, report in ours
    ]
    scripts = [_joined(found["seconds"]) for _, found in theirs]
    lines = ["| stage | modelmill, s | script, s |", "| --- | ---: | ---: |"]
    for name in mine[0]:
        both = [statistics.median(one[name] for one in side) for side in (mine, scripts)]
        lines.append(f"| {name} | {both[0]:.1f} | {both[1]:.1f} |")
    rest = [
        statistics.median(
            whole.wall - sum(one.get(name, 0.0) for name in mine[0]) for whole, one in zip(*side, strict=True)
        )
        for side in (((took for took, _ in ours), mine), ((took for took, _ in theirs), scripts))
    ]
    lines.append(f"| all else: imports, data, forecast, report | {rest[0]:.1f} | {rest[1]:.1f} |")
    whole = [statistics.median(took.wall for took, _ in side) for side in (ours, theirs)]
    cpu = [statistics.median(took.cpu for took, _ in side) for side in (ours, theirs)]
    return [
        *lines,
        f"| **the whole process** | **{whole[0]:.1f}** | **{whole[1]:.1f}** |",
        f"| its CPU time | {cpu[0]:.1f} | {cpu[1]:.1f} |",
    ]


def _joined(seconds: Mapping[str, float]) -> dict[str, float]:
    """Return seconds by stage: a part of a stage is named "STAGE, PART"."""
    found: dict[str, float] = {}
    for name, took in seconds.items():
        stage = name.partition(",")[0]
        found[stage] = found.get(stage, 0.0) + took
    return found


def _epochs(report: Mapping[str, Any]) -> dict[str, int]:
    """Return the epochs that each of a run's fits made."""
    fits = [one for one in report["models"] if one["training"]]
    return {" ".join(filter(None, (one["stage"], one["variant"]))): len(one["training"]["loss"]) for one in fits}


def main() -> None:
    """Run the pairs and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", nargs="?", default="digits", help="digits or mnist (default: digits)")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=VALUE", help="a key of the recipe")
    parser.add_argument("--pairs", type=int, default=3, help="how often both take turns, two or more (default: 3)")
    parser.add_argument("--epochs-share", type=float, default=1.0, help="of each section's epochs (default: 1)")
    parser.add_argument("--steps-per-execution", default="1", metavar="N", help="of the script's fits (default: 1)")
    parser.add_argument("--check", action="store_true", help="run the script's files over the test split, untimed")
    parser.add_argument("--json", type=Path, help="write all figures here")
    given = parser.parse_args()
    if given.pairs < 2:
        parser.error(f"expected --pairs of 2 or more, found {given.pairs}: one pair has no interval")
    if not 0 < given.epochs_share <= 1:
        parser.error(f"expected --epochs-share in (0, 1], found {given.epochs_share:g}")
    load = os.getloadavg()[0]
    for package in ("models", "pipeline", "serving"):  # as what is installed is
        compileall.compile_dir(package, quiet=1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        options = shortened(given.recipe, given.set, given.epochs_share)
        described, steps = folder / "task.json", ("--steps-per-execution", given.steps_per_execution)
        ours, theirs = [], []
        for pair in range(given.pairs):
            ours.append(run(given.recipe, options, folder / "ours"))
            if not pair:
                described.write_text(json.dumps(task(folder / "ours")), encoding="utf-8")
            theirs.append(script(described, folder / "theirs", *steps))
            print(
                f"<!-- pair {pair + 1}: {ours[-1][0].wall:.1f} s, {theirs[-1][0].wall:.1f} s; "
                f"of CPU {ours[-1][0].cpu:.1f} s, {theirs[-1][0].cpu:.1f} s -->",
                flush=True,
            )
        checked = script(described, folder / "checked", "--check", *steps)[1] if given.check else None
    pairs = list(zip(ours, theirs, strict=True))
    kinds = ("wall time", "CPU time")
    ratios = {kind: [mine[0][n] / other[0][n] for mine, other in pairs] for n, kind in enumerate(kinds)}
    epochs = ", ".join(f"{name} {count}" for name, count in _epochs(ours[0][1]).items())
    print(f"Epochs: {epochs}. Load at the start: {load:.1f}\n")
    print("\n".join(_rows(ours, theirs)))
    for kind, found in ratios.items():
        mean, low, high = geometric_mean(found)
        print(
            f"\n{kind}, modelmill over script, {given.pairs} pairs: {mean:.2f} (95 % {low:.2f} to {high:.2f}; "
            f"pairs {', '.join(f'{one:.2f}' for one in found)})"
        )
    for stage, found in checked["test"].items() if checked else ():
        print(
            f"script, {stage}: " + ", ".join(f"{kind} {found[kind]:.4f}" for kind in ("saved_model", "tflite", "onnx"))
        )
    if given.json:
        content = {
            "recipe": given.recipe, "options": options, "load": load,
            "ratios": ratios, "ours": [took for took, _ in ours], "script": [took for took, _ in theirs],
            "stages": [mine["stages"] for _, mine in ours], "script_stages": [one["seconds"] for _, one in theirs],
            "checked": checked,
        }  # fmt: skip
        given.json.write_text(json.dumps(content, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
