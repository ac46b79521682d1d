"""A model of the user's with one sigmoid for two classes, from import to the served answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import data, legacy_keras
from pipeline.data import DataConfig
from tests.end_to_end.command import modelmill

pytestmark = pytest.mark.long

RECIPE = """
name: cells
data: {source: npz, path: cells.npz, classes: [malignant, benign]}
model: {path: cells.keras}
prune: {final_sparsity: 0.4, epochs: 4, class_weights: {malignant: 2}, teach: {}, max_accuracy_loss: 0.05}
quantize: {epochs: 3, class_weights: balanced, max_accuracy_loss: 0.05}
export: {tflite: [float32, int8]}
measure: {resamples: 100, latency: {min_block_ms: 10, batch_min_block_ms: 10, percentile: 0.9}}
serving: {target: embedded}
judge: {gates: {max_accuracy_drop: 0.05, min_parity: 0.95}}
"""


@pytest.fixture(scope="module")
def cwd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from sklearn.datasets import load_breast_cancer

    folder = tmp_path_factory.mktemp("binary")
    bunch = load_breast_cancer()
    x = (bunch.data - bunch.data.mean(axis=0)) / bunch.data.std(axis=0)
    np.savez(folder / "cells.npz", x_train=x.astype(np.float32), y_train=bunch.target)
    keras = legacy_keras.load()
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((30,)), layers.Dense(16, activation="relu"), layers.Dense(1, activation="sigmoid", name="benign")]
    )
    splits = data.load(DataConfig(source="npz", path=str(folder / "cells.npz")))
    model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy")
    model.fit(splits.train.x, splits.train.y, batch_size=32, epochs=10, verbose=0)
    model.save(folder / "cells.keras", save_format="keras")
    (folder / "cells.yaml").write_text(RECIPE, encoding="utf-8")
    return folder


def test_one_sigmoid_is_pruned_quantized_served_and_judged_as_two_classes(cwd: Path) -> None:
    from pipeline.formats import onnx, tflite

    done = modelmill("run", "cells.yaml", cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "import: the sigmoid inside benign is taken off" in done.stderr
    assert "import: the model answers one number for two classes, benign where it is above 0" in done.stderr
    assert "about as often as chance" not in done.stderr
    found = json.loads((cwd / "runs" / "cells" / "report.json").read_text(encoding="utf-8"))
    splits = data.load(DataConfig(source="npz", path=str(cwd / "cells.npz"), classes=("malignant", "benign")))
    x = np.asarray(splits.test.x)
    file = legacy_keras.load().models.load_model(cwd / "cells.keras", compile=False)
    wanted = file.predict(x, verbose=0)[:, 0]
    artifacts = cwd / "runs" / "cells" / "artifacts"
    for item in found["artifacts"]:
        assert item["error"] is None, item["id"]
        for one in item["runs"]:
            assert one["metrics"]["accuracy"]["value"] > 0.9
            assert one["parity"]["top1_agreement"] >= (0.97 if item["precision"] == "int8" else 1)
        if item["format"] == "saved_model":
            assert [one["protocol"] for one in item["runs"]] == ["grpc", "rest"]
            continue
        module: Any = {"tflite": tflite, "onnx": onnx}[item["format"]]
        answers = module.load(next(artifacts.glob(f"{item['id']}.*")), splits.spec, 1).predict(x)
        assert answers["probabilities"].shape == (len(x), 2)
        assert answers["probabilities"].sum(axis=1) == pytest.approx(1, abs=0.01)
        # it was pruned and trained on since
        assert np.abs(answers["probabilities"][:, 1] - wanted).mean() < 0.1
    layers = next(one for one in found["models"] if one["stage"] == "quantize")["layers"]
    assert {layer["precision"].split()[0] for layer in layers} == {"int8"}
