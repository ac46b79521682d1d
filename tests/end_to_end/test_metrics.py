"""The metric that a recipe chooses stops training, is what stages promise and gates limit, and is what is shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_diabetes
from sklearn.metrics import f1_score, mean_absolute_error

from pipeline.data import DataConfig, load
from tests.end_to_end.command import modelmill, options

QUICK = ["measure.resamples=200", "measure.latency.min_block_ms=10", "measure.latency.batch_min_block_ms=10",
         "measure.latency.percentile=0.9", "serving=null"]  # fmt: skip
CLASSES = """
name: f1
data: {source: digits, metric: f1}
model: {candidates: [{architecture: mlp, dense: [4]}, {architecture: mlp, dense: [16]}]}
train: {epochs: 4, batch_size: 64, early_stopping: {monitor: val_accuracy}, tensorboard: false}
prune: {final_sparsity: 0.9, epochs: 1, on_regression: keep_best, max_accuracy_loss: 0.001, tensorboard: false}
export: {tflite: [float32], onnx: []}
measure: {}
judge: {gates: {max_accuracy_drop: -0.9}}
"""
VALUES = """
name: mae
data: {source: npz, path: diabetes.npz, task: regression, metric: mae}
model: {architecture: mlp, dense: [16]}
train: {epochs: 12, early_stopping: {monitor: val_accuracy, patience: 3}, tensorboard: false}
prune: {final_sparsity: 0.95, epochs: 1, max_accuracy_loss: 0.5, tensorboard: false}
export: {tflite: [float32], onnx: []}
measure: {}
judge: {gates: {max_accuracy_drop: -90}}
"""


@pytest.fixture(scope="module")
def cwd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("metrics")


def run(cwd: Path, recipe: str, *overrides: str) -> tuple[Any, dict[str, Any], str]:
    name = recipe.split(maxsplit=2)[1]
    (cwd / f"{name}.yaml").write_text(recipe, encoding="utf-8")
    done = modelmill("run", f"{name}.yaml", *options([*QUICK, *overrides]), cwd=cwd)
    folder = cwd / "runs" / name
    return done, json.loads((folder / "report.json").read_text()), (folder / "report.html").read_text()


def stage(report: dict[str, Any], name: str) -> dict[str, float]:
    found: dict[str, float] = next(one["metrics"] for one in report["stages"] if one["name"] == name)
    return found


@pytest.mark.long
def test_recipe_is_carried_out_by_the_f1_that_it_asks_for(cwd: Path) -> None:
    done, report, page = run(cwd, CLASSES)
    assert done.returncode == 1, done.stdout + done.stderr
    train, prune = report["models"]
    several = train["several"]
    values = [one["quality"] for one in several["fitted"]]
    assert (several["metric"], several["best"]) == ("f1", int(np.argmax(values)))
    assert several["reason"].startswith(f"mlp, dense: [16] goes on: F1 {max(values):.2%} on the validation split")
    curve = train["training"]["val_f1"]
    assert {"accuracy", "val_accuracy"} <= set(train["training"])
    assert stage(report, "train")["epoch"] == 1 + int(np.argmax(curve))
    assert max(curve) == pytest.approx(stage(report, "train")["val_f1"], abs=1e-6)
    assert stage(report, "prune")["val_f1_before"] == stage(report, "train")["val_f1"]
    assert "goes on with epoch 1, the best: F1 " in done.stdout + done.stderr
    (last,) = (one for one in report["artifacts"] if one["id"] == "prune.tflite.float32")
    (measured,) = last["runs"]
    assert measured["judged"] == prune["judged"] == ["f1"]
    assert [name for name in measured["metrics"] if name.endswith("_drop")] == ["f1_drop"]
    with np.load(next((cwd / "runs/f1/stages/measure").glob("logits.npz"))) as answers:
        answered = answers["prune.tflite.float32"].argmax(axis=1)
    expected = f1_score(load(DataConfig()).test.y, answered, average="macro")
    assert measured["metrics"]["f1"]["value"] == pytest.approx(expected)
    assert len(report["tested"]["support"]) == 10
    (gate,) = report["gates"]
    assert gate["value"] == measured["metrics"]["f1_drop"]["value"]
    assert " of F1, limit at most -0.9: the whole interval misses it; try " in gate["message"]
    assert "F1 against size and latency" in page
    assert "F1 on the test split, 95 % " in page
    assert '<tr class="judged"><th scope="row">F1<small>judged by it</small></th>' in page


@pytest.mark.long
def test_recipe_is_carried_out_by_the_error_that_it_asks_for(cwd: Path) -> None:
    bunch = load_diabetes()
    np.savez(cwd / "diabetes.npz", x_train=bunch.data, y_train=bunch.target)
    done, report, _ = run(cwd, VALUES)
    assert done.returncode == 4, done.stdout + done.stderr
    curve = report["models"][0]["training"]["val_mae"]
    best = 1 + int(np.argmin(curve))
    assert stage(report, "train")["epoch"] == best
    assert stage(report, "train")["val_mae"] == min(curve)
    assert "prune: the mean absolute error rose by more than the recipe allows" in done.stderr
    assert "expected: at most 0.5 (prune.max_accuracy_loss)" in done.stderr
    assert "on the validation split, the model that came in had mean absolute error " in done.stderr

    done, report, page = run(cwd, VALUES, "prune.max_accuracy_loss=100")
    assert done.returncode == 1, done.stdout + done.stderr
    (gate,) = report["gates"]
    assert " of mean absolute error, limit at most -90: the whole interval misses it" in gate["message"]
    (reference,) = (one for one in report["artifacts"] if one["id"] == report["reference"])
    (last,) = (one for one in report["artifacts"] if one["id"] == "prune.tflite.float32")
    before, after = (one["runs"][0]["metrics"]["mae"]["value"] for one in (reference, last))
    with np.load(next((cwd / "runs/mae/stages/measure").glob("logits.npz"))) as answers:
        answered = answers["prune.tflite.float32"]
    wanted = load(DataConfig.model_validate({"source": "npz", "path": str(cwd / "diabetes.npz"), "task": "regression"}))
    assert after == pytest.approx(mean_absolute_error(wanted.test.y, answered))
    assert last["runs"][0]["metrics"]["mae_drop"]["value"] == pytest.approx(after - before)
    assert "Down is better (of the mean absolute error less is better), left is cheaper." in page


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["data.metric=f2"], "data: metric: there is no metric 'f2'; there are accuracy, balanced_accuracy,"),
        (["data.task=regression", "data.metric=f1"], "'f1' is no metric of a regression; there are r2, mse, mae,"),
        (
            ["prune={max_accuracy_loss: 2}"],
            "prune.max_accuracy_loss is 2, but accuracy is at most 1: 0.01 is one point",
        ),
    ],
)
def test_metric_that_cannot_be_is_refused_before_anything_runs(cwd: Path, overrides: list[str], said: str) -> None:
    done = modelmill("run", "digits-mlp", *options(overrides), cwd=cwd)
    assert done.returncode == 2
    assert said in done.stderr
