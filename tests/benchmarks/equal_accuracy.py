"""What channel removal loses at equal budget:
`python -m tests.benchmarks.equal_accuracy --data CIFAR --work FOLDER [--teacher FILE.keras] [--untimed] [--again]`.

A ResNet-20, trained on CIFAR-10 as the recipe cifar10-resnet8 trains it, is shrunk to half of its MACs and fine-tuned;
and the same ResNet-20 is fine-tuned for as long with all its channels (`shrink.control`). Both are judged on the whole
test split, sample by sample. Stands beside what Torch-Pruning publishes. Can be stopped and given again: epochs are
checkpointed in FOLDER's store, findings in FOLDER/equal_accuracy.json. Prints tables in Markdown.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from pipeline.files import sha256
from pipeline.recipe import built_in
from tests.benchmarks import commands, findings
from tests.benchmarks.findings import Findings, Side

OF = "cifar10-resnet8"
SHRINK: Mapping[str, Any] = {
    "macs": 0.5, "importance": "taylor", "control": True, "epochs": 15, "batch_size": 128,
    # both learn from the model that came in
    "teach": {"temperature": 4, "soft_weight": 0.9},
    "optimizer": {"name": "nesterov", "learning_rate": 0.05}, "schedule": {"name": "cosine"},
    # what is lost is what is asked: nothing ends the run for it
    "on_regression": "continue",
}  # fmt: skip
# the files are timed by `modelmill bench`, so here as little as may be
MEASURE: Mapping[str, Any] = {"latency": {
    "percentile": 0.5, "min_block_ms": 10, "warmup_queries": 10, "batch_percentile": 0.5, "batch_min_block_ms": 10,
}}  # fmt: skip
FILE, TIMED = "tflite.float32", "LiteRT float32"
# https://github.com/VainF/Torch-Pruning, its table of ResNet-56 on CIFAR-10: base, pruned, times fewer MACs
PUBLISHED = {"network": "ResNet-56", "base": 93.53, "pruned": 93.46, "macs": 2.11}
BOUND = 1.0  # points


def main() -> None:
    """Take what is still to be taken, and print what was found."""
    options = _options()
    found = Findings(
        "equal_accuracy",
        "python -m tests.benchmarks.equal_accuracy --data CIFAR --work FOLDER [--teacher FILE.keras]",
        options.work,
    )
    out = options.work / "run"

    def learn() -> Side:
        recipe = options.work / "equal_accuracy.yaml"
        recipe.write_text(yaml.safe_dump(_recipe(options.data, options.teacher), sort_keys=False), encoding="utf-8")
        return told(findings.ran(str(recipe), options.set, out, options.work / "store", until="measure"))

    decides = _recipe(options.data, options.teacher)
    for section in ("data", "model"):  # where files lie decides nothing, what is in them does
        decides[section].pop("path", None)
    teacher = options.teacher and sha256(options.teacher)
    accuracy = found.once("accuracy", learn, [decides, options.set, teacher])
    files = {one: out / path for one, path in accuracy["files"].items()}
    of = findings.contents(files)
    if options.again or not found.knows(TIMED, of):  # untimed, the table has no times rather than those of other files
        found.again(TIMED)
    if not options.untimed:
        found.once(TIMED, partial(findings.bench, files, options.work / "bench", against="teacher"), of)
    print(text(found))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=commands.existing, required=True, help="a folder with train/CLASS and test/CLASS"
    )
    parser.add_argument("--teacher", type=commands.existing_file, help="a trained ResNet-20; without it one is trained")
    parser.add_argument(
        "--work", type=commands.folder, required=True, help="findings, the run, its store and the timings"
    )
    parser.add_argument("--untimed", action="store_true", help="leave the times to a later call, on a calm machine")
    commands.add_again(parser, "the times")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="changes the recipe, to try it")
    return parser.parse_args()


def _recipe(data: Path, teacher: Path | None) -> dict[str, Any]:
    """Return the recipe, with what it shares with the built-in one."""
    shared: dict[str, Any] = yaml.safe_load(built_in()[OF].read_text(encoding="utf-8"))
    recipe = {name: shared[name] for name in ("seed", "mixed_precision", "performance", "data", "model", "train")}
    recipe["data"]["path"] = str(data.absolute())
    if teacher:
        recipe["model"] = {"path": str(teacher.absolute())}
        del recipe["train"]
    return recipe | {
        "name": "equal-accuracy", "shrink": dict(SHRINK), "measure": dict(MEASURE), "serving": None,
        "export": {"stages": "all", "tflite": ["float32"], "onnx": []},
    }  # fmt: skip


def told(report: Mapping[str, Any]) -> Side:
    """Return what a run's report says of the three models and of the differences between them."""
    teacher, shrunk, control = report["models"]
    assert [shrunk["variant"], control["variant"]] == ["", "control"], "not the models of this benchmark"
    artifacts = [one for one in report["artifacts"] if one["id"].endswith(FILE)]
    files = {one["stage"]: one["path"] for one in artifacts}
    lite = {one["stage"]: run["metrics"]["accuracy"] for one in artifacts for run in one["runs"]}
    names = {"teacher": teacher, "control": control, "shrunk": shrunk}
    (measured,) = (stage["metrics"] for stage in report["stages"] if stage["name"] == "measure")
    return {
        "models": {
            name: {
                "accuracy": _interval(model["metrics"]["accuracy"]), "parameters": model["parameters"],
                "macs": model["macs"], "epochs": len(model["training"].get("loss", ())),
                "validation": [round(value, 5) for value in model["training"].get("val_accuracy", ())],
            }
            for name, model in names.items()
        },
        # of the first over the second, paired by sample
        "differences": {
            "control, shrunk": _interval(shrunk["metrics"]["accuracy_loss_by_removal"]),
            "teacher, shrunk": _interval(shrunk["metrics"]["accuracy_drop"]),
            "teacher, control": _interval(control["metrics"]["accuracy_drop"]),
        },
        "litert": {"teacher": _interval(lite[teacher["stage"]]), "shrunk": _interval(lite["shrink"])},
        "files": {"teacher": files[teacher["stage"]], "shrunk": files["shrink"]},
        "samples": measured["test_samples"], "seed": report["seed"],
    }  # fmt: skip


def text(found: Findings) -> str:
    """Return what was found as tables, with what it is held against."""
    side, timed = found.sides["accuracy"], found.sides.get(TIMED, {})
    models, differences = side["models"], side["differences"]
    whole = models["teacher"]["macs"]
    rows = [
        (
            name, _percent(one["accuracy"]), f"{one['parameters']:,}", f"{one['macs'] / 1e6:.1f} M",
            f"{whole / one['macs']:.2f}", one["epochs"] or "-",
            findings.told_ratio(timed.get(name, {}).get("ratio")),
        )
        for name, one in models.items()
    ]  # fmt: skip
    head = (
        "model",
        "accuracy, % (95 %)",
        "parameters",
        "MACs",
        "times fewer",
        "epochs",
        "LiteRT, times as fast (95 %)",
    )
    loss, low, high = (100 * value for value in differences["control, shrunk"])
    held = "held" if high < BOUND else "missed" if low > BOUND else "neither held nor missed for certain"
    points = "\n".join(
        f"- {name.replace(', ', ' over ')}: {100 * value:+.2f} points (95 % {100 * least:+.2f} to {100 * most:+.2f})"
        for name, (value, least, most) in differences.items()
    )
    published = (
        f"{PUBLISHED['network']} of Torch-Pruning, {PUBLISHED['base']} % to {PUBLISHED['pruned']} % at "
        f"{PUBLISHED['macs']} times fewer MACs"
    )
    return (
        f"{findings.table(head, rows)}\n\n{points}\n\n"
        f"Removal lost {loss:.2f} points; less than {BOUND:g} is {held}. Published, on other images with another "
        f"budget: {published}. In LiteRT the shrunk model is right on {_percent(side['litert']['shrunk'])} %.\n\n"
        f"Seed {side['seed']}, {side['samples']:,.0f} test samples. {found.told()}"
    )


def _interval(found: Mapping[str, float]) -> list[float]:
    return [round(found[key], 5) for key in ("value", "low", "high")]


def _percent(found: Sequence[float]) -> str:
    value, low, high = (100 * one for one in found)
    return f"{value:.2f} ({low:.2f} to {high:.2f})"


if __name__ == "__main__":
    commands.ended(main)
