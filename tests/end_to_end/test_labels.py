"""Several labels a sample, from training to the served answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import labels
from tests.end_to_end.command import modelmill, options

pytestmark = pytest.mark.long

RECIPE = f"""
name: labels
data: {{source: npz, path: labels.npz, task: multilabel, classes: {json.dumps(labels.LABELS)}}}
model: {{architecture: mlp, dense: [48]}}
train: {{epochs: 25, batch_size: 64, class_weights: balanced, early_stopping: {{monitor: val_accuracy}}}}
distill: {{student: {{architecture: mlp, dense: [24]}}, alone: false, epochs: 12, max_accuracy_loss: 0.1}}
prune: {{final_sparsity: 0.4, epochs: 6, teach: {{}}, class_weights: {{prime: 2}}, max_accuracy_loss: 0.1}}
quantize: {{epochs: 3, label_smoothing: 0.05, max_accuracy_loss: 0.1}}
export: {{tflite: [float32, int8]}}
measure: {{resamples: 100, latency: {{min_block_ms: 10, batch_min_block_ms: 10, percentile: 0.9}}}}
serving: {{target: embedded}}
judge: {{gates: {{max_accuracy_drop: 0.2, min_parity: 0.85}}}}
"""
FLOAT = ("prune.saved_model.float32", "prune.tflite.float32", "prune.onnx.float32")
INT8 = ("quantize.tflite.int8", "quantize.onnx.int8")


@pytest.fixture(scope="module")
def cwd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labels")
    labels.write(folder / "labels.npz")
    (folder / "labels.yaml").write_text(RECIPE, encoding="utf-8")
    return folder


@pytest.fixture(scope="module", autouse=True)
def found(cwd: Path) -> dict[str, Any]:
    done = modelmill("run", "labels.yaml", cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    loaded: dict[str, Any] = json.loads((cwd / "runs" / "labels" / "report.json").read_text(encoding="utf-8"))
    return loaded


def _runs(found: dict[str, Any], name: str) -> list[dict[str, Any]]:
    one = next(item for item in found["artifacts"] if item["id"] == name)
    assert one["error"] is None
    runs: list[dict[str, Any]] = one["runs"]
    return runs


def test_labels_are_learned_compressed_served_and_judged_by_f1(found: dict[str, Any]) -> None:
    assert found["verdict"] == "pass"
    for stage in found["stages"]:
        if stage["name"] in ("train", "distill", "shrink", "prune", "quantize"):
            assert 0.85 < stage["metrics"]["val_f1"] < 1
            assert "val_accuracy" not in stage["metrics"]
    for name in (*FLOAT, *INT8):
        for one in _runs(found, name):
            assert one["metrics"]["f1"]["value"] > 0.85
            assert one["metrics"]["f1"]["low"] < one["metrics"]["f1"]["value"] < one["metrics"]["f1"]["high"]
            assert one["parity"]["top1_agreement"] is None
            assert one["parity"]["r2"] is None
            assert one["parity"]["label_agreement"] >= (1 if name in FLOAT else 0.9)
            assert one["parity"]["label_agreement_low"] < one["parity"]["label_agreement"]
    served = _runs(found, FLOAT[0])
    assert [one["protocol"] for one in served] == ["grpc", "rest"]
    assert all(one["checks"][0]["problems"] == [] for one in served)


def test_files_answer_logits_and_their_sigmoid(cwd: Path) -> None:
    from pipeline import data
    from pipeline.data import DataConfig
    from pipeline.formats import onnx, tflite

    config = DataConfig(source="npz", path=str(cwd / "labels.npz"), task="multilabel", classes=labels.LABELS)
    splits = data.load(config)
    x, y = np.asarray(splits.test.x)[:64], np.asarray(splits.test.y)[:64]
    artifacts = cwd / "runs" / "labels" / "artifacts"
    for name in (*FLOAT[1:], *INT8):
        path = next(artifacts.glob(f"{name}.*"))
        answers = (onnx if path.suffix == ".onnx" else tflite).load(path, splits.spec, 1).predict(x)
        sigmoid = 1 / (1 + np.exp(-answers["logits"]))
        # an int8 sigmoid has 256 steps
        assert answers["probabilities"] == pytest.approx(sigmoid, abs=0.01 if name in INT8 else 1e-5)
        assert ((answers["probabilities"] > 0.5) == (y == 1)).mean() > 0.85


def test_what_was_asked_of_a_label_that_is_not_there_is_refused(cwd: Path) -> None:
    done = modelmill("run", "labels.yaml", *options(["prune.class_weights={odd: 2}"]), cwd=cwd)
    assert done.returncode == 2
    assert "prune.class_weights names odd; the classes are even, at least 5, prime, has a loop" in done.stderr
    done = modelmill("run", "labels.yaml", *options(["train.loss=huber"]), cwd=cwd)
    assert done.returncode == 2
    assert "train.loss is huber, which is for values, and a multilabel has labels" in done.stderr
