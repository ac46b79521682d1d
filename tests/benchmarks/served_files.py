"""The files that served_speed.py compares, each made by `modelmill run`: a teacher, and what becomes of it.

Two recipes of one teacher, which they share through the store: one prunes it, the other takes channels out of it and
goes on to int8 (QAT). They train for an epoch on scikit-learn's digits, enlarged: how fast a file is does not depend on
what it has learned. Channels go evenly from all groups, so that widths hardly depend on weights.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.benchmarks.channels import images
from tests.benchmarks.findings import Side, ran

PRUNED, SMALL = "pruned", "small"
ZEROS = 0.8
# the models in the order of the tables -> the run that they come from, and the stage that makes them
TEACHER = "float teacher"
SHRUNK = "shrunk"
MODELS = {
    TEACHER: (SMALL, "train"),
    f"pruned to {ZEROS:.0%} zeros": (PRUNED, "prune"),
    SHRUNK: (SMALL, "shrink"),
    f"{SHRUNK}, int8": (SMALL, "quantize"),
}
_ENDINGS = {"tflite": ".tflite", "onnx": ".onnx", "saved_model": ""}
# one epoch teaches nothing, and is not to stop a run
_FIT = {"epochs": 1, "batch_size": 32}
_TUNE = {**_FIT, "max_accuracy_loss": 1.0, "on_regression": "continue"}


@dataclass(frozen=True)
class Network:
    """What is made smaller, how far, and what that is to buy.

    Attributes:
        side: of its images, in pixels.
        model: the recipe's section.
        macs: share of the MACs that may stay.
        goals: runtime -> how many times as fast as the teacher the shrunk one is to answer one sample.
        shrink: further keys of the section.
    """

    side: int
    model: Mapping[str, Any]
    macs: float
    goals: Mapping[str, float]
    shrink: Mapping[str, Any] = field(default_factory=dict)


EVERYWHERE = dict.fromkeys(("LiteRT", "ONNX Runtime", "served, gRPC", "served, REST"), 1.4)
NETWORKS = {
    # 8, 24 and 48 channels: fewer than half of the MACs, in widths that kernels are fast at
    "resnet8": Network(
        32, {"architecture": "resnet", "depth": 8}, 0.43, {"LiteRT": 1.4, "ONNX Runtime": 1.25},
        {"layers": {"stem": 0.5, "stack_1_*": 0.5, "stack_2_*": 0.75, "stack_3_*": 0.75}},
    ),
    "resnet18": Network(96, {"architecture": "resnet", "depth": 18}, 0.5, EVERYWHERE),
    "mobilenetv2": Network(96, {"architecture": "mobilenet", "version": 2}, 0.5, EVERYWHERE),
}  # fmt: skip


def data(network: Network, work: Path) -> Path:
    """Return the images that a network is trained on and asked for, written where they are not there yet."""
    path = work / f"digits-{network.side}.npz"
    if not path.exists():
        images(network.side, path)
    return path


def made(name: str, network: Network, work: Path) -> Side:
    """Run both recipes, what is stored excepted, and return each model's MACs, zeros and sizes, and the widths."""
    common: dict[str, Any] = {
        "data": {"source": "npz", "path": str(data(network, work))}, "model": dict(network.model), "train": _FIT,
        "measure": None, "judge": None,
        "export": {"stages": "all", "saved_model": ["float32"], "tflite": ["float32"], "onnx": ["float32"]},
    }  # fmt: skip
    shrink = {"macs": network.macs, "selection": "uniform", **network.shrink, **_TUNE}
    sections: dict[str, dict[str, Any]] = {
        PRUNED: {"prune": {"final_sparsity": ZEROS, **_TUNE}},
        SMALL: {
            "shrink": shrink, "quantize": {**_TUNE, "freeze_ranges_epochs": 0},
            "export": {**common["export"], "tflite": ["float32", "int8"], "onnx": ["float32", "int8"]},
        },
    }  # fmt: skip
    reports = {}
    for run, section in sections.items():
        recipe = work / f"{name}-{run}.yaml"
        recipe.write_text(yaml.safe_dump({"name": recipe.stem, **common, **section}, sort_keys=False), "utf-8")
        reports[run] = ran(str(recipe), (), _folder(work, name, run), work / "store")
    facts = {label: _facts(reports[run], stage) for label, (run, stage) in MODELS.items()}
    return {"seed": reports[SMALL]["seed"], "shrink": shrink, "widths": _widths(work, name), "models": facts}


def files(name: str, work: Path, form: str) -> dict[str, Path]:
    """Return label -> file of a form: tflite, onnx, or what is served: a SavedModel's folder, of int8 the .tflite."""
    found = {}
    for label, (run, stage) in MODELS.items():
        precision = "int8" if stage == "quantize" else "float32"
        kind = "tflite" if form == "saved_model" and precision == "int8" else form
        path = _folder(work, name, run) / "artifacts" / f"{stage}.{kind}.{precision}{_ENDINGS[kind]}"
        found[label] = path if kind != "saved_model" else path / "1"
    return found


def _folder(work: Path, name: str, run: str) -> Path:
    return work / "runs" / f"{name}-{run}"


def _facts(report: Mapping[str, Any], stage: str) -> dict[str, Any]:
    """Return what report.json says of a stage's .tflite."""
    (found,) = (one for one in report["artifacts"] if one["stage"] == stage and one["format"] == "tflite")
    if found["error"]:
        raise SystemExit(f"{found['id']} could not be made: {found['error']}")
    return {key: found[key] for key in ("macs", "sparsity", "parameters", "gzip_bytes")}


def _widths(work: Path, name: str) -> list[Sequence[int]]:
    """Return the channels before and after of each group that could lose some."""
    (model,) = json.loads((_folder(work, name, SMALL) / "stages" / "shrink" / "models.json").read_text("utf-8"))
    return [(group["before"], group["after"]) for group in model["channels"] if "logits" not in group["layers"]]
