"""How long a recipe's stages take, and how much memory, against a straight script of the same work.

    python -m tests.benchmarks.stages digits --work FOLDER
    python -m tests.benchmarks.stages mnist --set data.path=mnist.npz --epochs-share 0.15 --pairs 2 --work FOLDER

The script is handwritten.py: TF-MOT, Keras 2, tf.lite and tf2onnx, and nothing of modelmill. Both take turns, each a
process of its own that starts with nothing: `modelmill run --until export` into a new store, and the script, which is
told how many epochs the run really made and which widths shrink chose, so that it does the same. Compared is the wall
time of the whole process, imports included, and the most memory that it and all that it starts hold at a time (PSS, see
memory.py). What measure and judge take has no counterpart in such a script and is left out on both sides.

Pairs are kept in FOLDER/stages.json as they come, so that a benchmark that was stopped goes on; --again takes them
anew. Prints tables in Markdown.
"""

from __future__ import annotations

import argparse
import compileall
import json
import math
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial, reduce
from itertools import accumulate, pairwise
from operator import getitem
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from pipeline import recipe as recipes
from pipeline.students_t import geometric_mean
from tests.benchmarks import commands
from tests.benchmarks.findings import Findings, Side, table
from tests.benchmarks.memory import Memory

SCRIPT = "tests.benchmarks.handwritten"
COMMAND = [sys.executable, "-m", "pipeline", "run"]
# sections that have epochs, and of them those that the script has too
FITS = ("train", "distill", "shrink", "prune", "quantize")
REST, WHOLE, CPU = "all else: imports, data, forecast, report", "**the whole process**", "its CPU time"
Span = tuple[float, float]  # by `time.monotonic`


class Took(NamedTuple):
    """What a process took: seconds on the wall and of CPU, its children's too, and memory."""

    wall: float
    cpu: float
    memory: Memory

    def told(self, spans: Mapping[str, Sequence[Span]]) -> Side:
        """Return it with the seconds and the peak of each stage, whose spans of time are given, and of the rest."""
        every = sorted(span for some in spans.values() for span in some)
        seconds = {name: round(sum(last - first for first, last in some), 3) for name, some in spans.items()}
        # before, between and after the stages
        gaps = [(last, first) for (_, last), (first, _) in pairwise([(0.0, 0.0), *every, (float("inf"), 0.0)])]
        stages = {name: {"s": seconds[name], "peak_mb": self.memory.peak_mb(*some)} for name, some in spans.items()}
        stages[REST] = {"s": round(self.wall - sum(seconds.values()), 3), "peak_mb": self.memory.peak_mb(*gaps)}
        return {"s": self.wall, "cpu_s": self.cpu, "peak_mb": self.memory.peak_mb(), "stages": stages}


def shortened(recipe: str, overrides: Sequence[str], share: float) -> list[str]:
    """Return --set options that leave a share of each section's epochs, at least those needed, beside what is given."""
    options = [part for one in overrides for part in ("--set", one)]
    if share == 1:
        return options
    resolved = recipes.load(recipe, list(overrides)).model_dump(mode="json")
    for name in FITS:
        if resolved.get(name):
            # how little is learned in few epochs is not what is compared
            options += ["--set", f"{name}.max_accuracy_loss=1"] if name != "train" else []
            section = resolved[name]
            least = 1 + max(section.get("freeze_ranges_epochs", 0), math.ceil(section["schedule"]["warmup_epochs"]))
            options += ["--set", f"{name}.epochs={max(least, round(share * section['epochs']))}"]
    return options


def run(recipe: str, options: Sequence[str], folder: Path) -> Side:
    """Run a recipe with a store of its own and return what it took."""
    asked = [*COMMAND, recipe, *options, "--out", str(folder), "--store", str(folder / "store"), "--json"]
    begun: dict[str, float] = {}
    spans: dict[str, list[Span]] = {}

    def heard(line: str) -> None:
        event = json.loads(line)
        if event["event"] == "stage_started":
            begun[event["stage"]] = time.monotonic()
        elif event["event"] == "stage_finished":
            spans[event["stage"]] = [(begun[event["stage"]], time.monotonic())]

    took, code = _timed([*asked, "--until", "export"], heard)
    # a gate that fails on few epochs is no failure of the comparison
    if code not in (0, 1):
        raise SystemExit(f"modelmill ended with {code}: {' '.join(asked)}")
    return took.told(spans)


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


def script(given: Path, folder: Path, *more: str) -> tuple[Side, dict[str, Any]]:
    """Run the script and return what it took, and what it printed."""
    folder.mkdir()
    said: list[str] = []
    with (folder / "stderr").open("w", encoding="utf-8") as told:
        took, code = _timed([sys.executable, "-m", SCRIPT, str(given), str(folder), *more], said.append, stderr=told)
    if code:
        raise SystemExit(f"the script failed: {(folder / 'stderr').read_text(encoding='utf-8')[-2000:]}")
    found: dict[str, Any] = json.loads(said[-1])
    laps = pairwise(accumulate(found["seconds"].values(), initial=found["began"]))
    spans: dict[str, list[Span]] = {}
    for name, span in zip(found["seconds"], laps, strict=True):
        if name not in ("import", "data"):  # which are no stage of ours
            spans.setdefault(name.partition(",")[0], []).append(span)  # a part of a stage is named "STAGE, PART"
    return took.told(spans), found


def _timed(asked: Sequence[str], heard: Callable[[str], object], **streams: Any) -> tuple[Took, int]:
    """Run a command, tell what it prints line by line, and return what it took, and its exit code."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with commands.child(asked, stdout=subprocess.PIPE, **streams) as process, Memory(process.pid) as memory:
        assert process.stdout is not None
        for line in process.stdout:
            heard(line)
        code = process.wait()
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Took(round(wall, 3), round(cpu, 3), memory), code


def pair(given: argparse.Namespace, *, check: bool = False) -> Side:
    """Let both sides do the work once, and return what they took.

    Args:
        check: the script runs its files over the test split, too: how right they are is all that is returned.
    """
    options = shortened(given.recipe, given.set, given.epochs_share)
    steps = ("--steps-per-execution", given.steps_per_execution)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        ours = run(given.recipe, options, folder / "ours")
        described = folder / "task.json"
        work = task(folder / "ours")
        described.write_text(json.dumps(work), encoding="utf-8")
        theirs, printed = script(described, folder / "theirs", *steps, *(("--check",) if check else ()))
    if check:
        return {"test": printed["test"]}
    return {"epochs": work["did"]["epochs"], "modelmill": ours, "script": theirs}


def rows(pairs: Sequence[Side]) -> list[list[str]]:
    """Return the table's rows: medians of seconds and of peaks, of both sides."""
    sides = [[one[name] for one in pairs] for name in ("modelmill", "script")]

    def row(name: str, key: str, *place: str) -> list[str]:
        found = [[reduce(getitem, place, one) for one in side] for side in sides]
        seconds = [statistics.median(one[key] for one in side) for side in found]
        peaks = [statistics.median(one["peak_mb"] for one in side) for side in found]
        return [name, *(f"{one:.1f}" for one in seconds), *(f"{one:,.0f}" for one in peaks)]

    stages = [row(name, "s", "stages", name) for name in pairs[0]["modelmill"]["stages"]]
    return [*stages, row(WHOLE, "s"), [*row(CPU, "cpu_s")[:3], "", ""]]


def main() -> None:
    """Run the pairs and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", nargs="?", default="digits", help="digits or mnist (default: digits)")
    parser.add_argument("--work", type=commands.folder, required=True, help="where findings go")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=VALUE", help="a key of the recipe")
    parser.add_argument("--pairs", type=int, default=3, help="how often both take turns, two or more (default: 3)")
    parser.add_argument("--epochs-share", type=float, default=1.0, help="of each section's epochs (default: 1)")
    parser.add_argument("--steps-per-execution", default="1", metavar="N", help="of the script's fits (default: 1)")
    parser.add_argument("--check", action="store_true", help="one more pair: the script's files over the test split")
    commands.add_again(parser, "the pairs of this recipe and share")
    given = parser.parse_args()
    recipes.load(given.recipe, given.set)  # refused before anything is known of it
    if given.pairs < 2:
        parser.error(f"expected --pairs of 2 or more, found {given.pairs}: one pair has no interval")
    if not 0 < given.epochs_share <= 1:
        parser.error(f"expected --epochs-share in (0, 1], found {given.epochs_share:g}")
    for package in ("models", "pipeline", "serving"):  # as what is installed is
        compileall.compile_dir(package, quiet=1)
    findings = Findings("stages", "python -m tests.benchmarks.stages RECIPE --work FOLDER", given.work)
    name = given.recipe if given.epochs_share == 1 else f"{given.recipe} with {given.epochs_share:g} of its epochs"
    if given.again:
        findings.again(f"{name}: ")
    without = [one for one in given.set if not one.startswith("data.path=")]
    asked = [without, given.epochs_share, given.steps_per_execution]
    pairs = [findings.once(f"{name}: pair {n}", partial(pair, given), asked) for n in range(1, given.pairs + 1)]
    checked = findings.once(f"{name}: check", partial(pair, given, check=True), asked) if given.check else {"test": {}}
    epochs = ", ".join(f"{stage} {count}" for stage, count in pairs[0]["epochs"].items())
    print(f"**{name}**: {len(pairs)} pairs, medians; epochs: {epochs}. {findings.told(f'{name}: ')}\n")
    print(table(("stage", "modelmill, s", "script, s", "modelmill, peak MB", "script, peak MB"), rows(pairs)))
    for kind, key in {"wall time": "s", "CPU time": "cpu_s", "peak of memory": "peak_mb"}.items():
        found = [one["modelmill"][key] / one["script"][key] for one in pairs]
        mean, low, high = geometric_mean(found)
        each = ", ".join(f"{one:.2f}" for one in found)
        print(f"\n{kind}, modelmill over script: {mean:.2f} (95 % {low:.2f} to {high:.2f}; pairs {each})")
    for stage, one in checked["test"].items():
        print(f"script, {stage}: " + ", ".join(f"{kind} {one[kind]:.4f}" for kind in ("saved_model", "tflite", "onnx")))


if __name__ == "__main__":
    commands.ended(main)
