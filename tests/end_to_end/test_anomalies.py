"""Anomaly detection, from an autoencoder that never saw one to the served score."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.end_to_end.command import modelmill

pytestmark = pytest.mark.long

RECIPE = """
name: nines
data: {source: digits, task: anomaly, anomaly: ["0", "9"]}
model: {architecture: autoencoder, dense: [32], code: 8}
train: {epochs: 30, batch_size: 32, optimizer: {name: adam, learning_rate: 0.003}, loss: huber, huber_delta: 0.5,
        early_stopping: {monitor: val_accuracy}}
distill: {student: {architecture: autoencoder, dense: [24], code: 8}, alone: false, epochs: 20, max_accuracy_loss: 0.2}
prune: {final_sparsity: 0.3, epochs: 4, max_accuracy_loss: 0.2}
quantize: {epochs: 3, max_accuracy_loss: 0.2}
export: {tflite: [float32, int8]}
measure: {resamples: 100, latency: {min_block_ms: 10, batch_min_block_ms: 10, percentile: 0.9}}
serving: {target: embedded}
judge: {gates: {max_accuracy_drop: 0.2, min_parity: 0.9}}
"""


@pytest.fixture(scope="module")
def cwd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("anomalies")
    (folder / "nines.yaml").write_text(RECIPE, encoding="utf-8")
    return folder


def test_anomalies_are_found_compressed_and_served_by_the_score_of_every_file(cwd: Path) -> None:
    from sklearn.metrics import roc_auc_score

    from pipeline import data
    from pipeline.data import DataConfig
    from pipeline.formats import onnx, tflite

    done = modelmill("run", "nines.yaml", cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "anomalies: 154 of 370 validation samples, 204 of 492 test samples" in done.stderr
    found = json.loads((cwd / "runs" / "nines" / "report.json").read_text(encoding="utf-8"))
    assert found["verdict"] == "pass"
    for stage in found["stages"]:
        if stage["name"] in ("train", "distill", "shrink", "prune", "quantize"):
            assert 0.7 < stage["metrics"]["val_roc_auc"] < 1
            assert "val_accuracy" not in stage["metrics"]
    splits = data.load(DataConfig(task="anomaly", anomaly=("0", "9")))
    x, y = np.asarray(splits.test.x), np.asarray(splits.test.y)
    artifacts = cwd / "runs" / "nines" / "artifacts"
    bounds = {"prune.saved_model.float32": 0.999999, "prune.tflite.float32": 0.999999, "prune.onnx.float32": 0.999999,
              "quantize.tflite.int8": 0.95, "quantize.onnx.int8": 0.95}  # fmt: skip
    for name, bound in bounds.items():
        item = next(item for item in found["artifacts"] if item["id"] == name)
        assert item["error"] is None
        for one in item["runs"]:
            assert one["parity"]["r2"] > bound
            assert one["parity"]["top1_agreement"] is None
            assert one["parity"]["label_agreement"] is None
            assert one["parity"]["samples"] == len(y)
        if item["format"] == "saved_model":
            assert [one["protocol"] for one in item["runs"]] == ["grpc", "rest"]
            assert all(one["checks"][0]["problems"] == [] for one in item["runs"])
            continue
        module: Any = {"tflite": tflite, "onnx": onnx}[item["format"]]
        answers = module.load(next(artifacts.glob(f"{name}.*")), splits.spec, 1).predict(x)
        assert answers["score"].shape == (len(y),)
        by_hand = np.square((answers["reconstruction"] - x) / 16).mean(axis=(1, 2, 3))
        assert answers["score"] == pytest.approx(by_hand, abs=1e-4)
        auc = roc_auc_score(y, answers["score"])
        assert item["runs"][0]["metrics"]["roc_auc"]["value"] == pytest.approx(auc, abs=1e-3)
        assert auc > 0.7
    with np.load(cwd / "runs" / "nines" / "stages" / "measure" / "logits.npz") as kept:
        assert {"train.keras#reconstruction", "train.keras#score"} <= set(kept.files)
