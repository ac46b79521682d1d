"""The recipe cifar10-resnet8 against MLPerf Tiny's ResNet-8, both trained here: `python -m tests.benchmarks.cifar10`.

    python -m tests.benchmarks.cifar10 --data cifar10 --work FOLDER

Two runs of the recipe on the same images with the same seed. The *baseline* is ResNet-8 alone, trained on labels and
taught int8 (quantization-aware), for as many epochs as the *compressed* one has in all after its teacher: distilled,
shrunk, pruned, taught int8. Both int8 .tflite files then answer the whole test split in LiteRT, and their times are
taken in turns. Stopped and given again, it goes on: epochs are in FOLDER/store, findings in FOLDER/cifar10.json.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pipeline import data, recipe
from tests.benchmarks import commands, findings
from tests.benchmarks.answers import answers, compared
from tests.benchmarks.findings import Findings

RECIPE = "cifar10-resnet8"
# the stages of the compressed model after its teacher; the baseline's training has as many epochs as all but the last
STAGES = ("distill", "shrink", "prune", "quantize")
TEACHER, BASELINE, OURS = "ResNet-20, float32", "ResNet-8, int8 (QAT)", "cifar10-resnet8, int8"
FLOAT = "ResNet-8, float32"


def baseline(overrides: list[str]) -> list[str]:
    """Return the overrides that make the recipe one of ResNet-8 alone, with the compressed model's epochs."""
    resolved: Any = recipe.load(RECIPE, overrides)
    epochs = sum(getattr(resolved, stage).epochs for stage in STAGES[:-1])
    removed = [f"{stage}=null" for stage in STAGES[:-1]]
    return [*overrides, "model.depth=8", f"train.epochs={epochs}", *removed, "quantize.teach=null"]


def ran(work: Path, name: str, overrides: list[str]) -> dict[str, Any]:
    """Run the recipe, and return the files of the run by their ids, with what report.json says of them."""
    report = findings.ran(RECIPE, overrides, work / name, work / "store")
    return {one["id"]: one | {"file": work / name / one["path"]} for one in report["artifacts"] if one["path"]}


def main() -> None:
    """Run both, compare and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=commands.existing, required=True, help="folder with train/CLASS and test/CLASS")
    parser.add_argument("--work", type=commands.folder, required=True, help="where findings, runs and their store go")
    commands.add_again(parser, "the times")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=VALUE", help="a key of the recipe, of both")
    given = parser.parse_args()
    overrides = [f"data.path={given.data}", *given.set]
    found = Findings("cifar10", "python -m tests.benchmarks.cifar10 --data cifar10 --work FOLDER", given.work)
    compressed = ran(given.work, "compressed", overrides)
    alone = ran(given.work, "baseline", baseline(overrides))
    files = {
        BASELINE: alone["quantize.tflite.int8"], OURS: compressed["quantize.tflite.int8"],
        FLOAT: alone["train.tflite.float32"], TEACHER: compressed["train.tflite.float32"],
    }  # fmt: skip
    resolved = recipe.load(RECIPE, overrides)
    if given.again:
        found.again("times")
    targets = {name: one["file"] for name, one in files.items()}
    of = findings.contents(targets)
    quality = found.once("answers", lambda: _quality(files, data.load(resolved.data, given.work / "store").test), of)
    times = found.once("times", lambda: findings.bench(targets, given.work / "bench"), of)
    print(found.told(), f"Seed {resolved.seed}.\n")
    print(_table(quality["models"], times))


def _quality(files: dict[str, Any], test: Any) -> dict[str, Any]:
    """Return accuracies over the test split, and what report.json says of the files."""
    told = compared({name: answers(one["file"], test.x) for name, one in files.items()}, test.y, BASELINE)
    keys = ("bytes", "gzip_bytes", "macs", "parameters")
    return {"models": {name: told[name] | {key: one[key] for key in keys} for name, one in files.items()}}


def _table(models: dict[str, Any], times: dict[str, Any]) -> str:
    first = models[BASELINE]
    rows = []
    for name, one in models.items():
        macs, size = (f"{one[key] / first[key]:.1%}" for key in ("macs", "bytes"))
        beside = "" if one is first else findings.told_gain(one["points_lost"])
        took = times[name]
        rows.append((
            name, f"{one['accuracy']:.2%}", beside, f"{one['macs'] / 1e6:.2f} M ({macs})", f"{one['bytes']:,} ({size})",
            f"{one['gzip_bytes']:,}", f"{1000 * took['p50_ms'][0]:.0f}", f"{took['p50_ms_n']:,}",
            findings.told_ratio(took["ratio"]),
        ))  # fmt: skip
    head = (
        "model", "accuracy", "points to the baseline", "MACs", "bytes", "gzip", "p50 us", "queries", "times as fast",
    )  # fmt: skip
    return findings.table(head, rows)


if __name__ == "__main__":
    commands.ended(main)
