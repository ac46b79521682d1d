"""Models of other shapes than one image in and one class out: values, reconstructions, several inputs and outputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import legacy_keras
from tests.end_to_end.command import BRIEFLY, modelmill, options

QUICK = [*BRIEFLY, "serving.target=embedded"]
FILES = ["saved_model.float32", "tflite.float32", "tflite.int8", "onnx.float32", "onnx.int8"]


@pytest.fixture(scope="module")
def cwd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tasks")


def run(cwd: Path, recipe: str, *overrides: str, verb: str = "run") -> Any:
    path = cwd / f"{recipe.split(maxsplit=2)[1]}.yaml"
    path.write_text(recipe, encoding="utf-8")
    return modelmill(verb, path.name, *options([*QUICK, *overrides]), cwd=cwd)


def report(cwd: Path, name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((cwd / "runs" / name / "report.json").read_text(encoding="utf-8"))
    return loaded


def artifact(found: dict[str, Any], name: str) -> dict[str, Any]:
    one: dict[str, Any] = next(item for item in found["artifacts"] if item["id"] == name)
    assert one["error"] is None
    return one


REGRESSION = """
name: diabetes
data: {source: npz, path: diabetes.npz, task: regression}
model: {architecture: mlp, dense: [32, 32]}
train: {epochs: 30, batch_size: 32, early_stopping: null, tensorboard: false}
distill:
  {student: {architecture: mlp, dense: [16]}, epochs: 20, batch_size: 32, on_regression: continue, tensorboard: false}
prune: {final_sparsity: 0.5, epochs: 6, batch_size: 32, on_regression: continue, teach: {}, tensorboard: false}
quantize: {epochs: 3, batch_size: 32, on_regression: continue, tensorboard: false}
export: {tflite: [float32, int8]}
measure: {}
judge: {gates: {max_accuracy_drop: 0.5, min_parity: 0.9}}
"""


def test_values_are_predicted_compressed_served_and_judged_by_r2(cwd: Path) -> None:
    from sklearn.datasets import load_diabetes

    bunch = load_diabetes()
    np.savez(cwd / "diabetes.npz", x_train=bunch.data, y_train=bunch.target)
    done = run(cwd, REGRESSION)
    assert done.returncode == 0, done.stdout + done.stderr
    found = report(cwd, "diabetes")
    assert found["verdict"] == "pass"
    train = next(stage for stage in found["stages"] if stage["name"] == "train")
    assert 0.2 < train["metrics"]["val_r2"] < 1
    assert "val_accuracy" not in train["metrics"]
    for name, low in {"prune.saved_model.float32": 0.999999, "prune.tflite.float32": 0.999999,
                      "prune.onnx.float32": 0.999999, "quantize.tflite.int8": 0.97}.items():  # fmt: skip
        for one in artifact(found, name)["runs"]:
            assert one["parity"]["r2"] > low
            assert one["parity"]["top1_agreement"] is None
            assert one["parity"]["samples"] == 89
            assert set(one["metrics"]) == {"r2", "mse", "mae", "r2_drop"}
            assert one["metrics"]["r2"]["low"] < one["metrics"]["r2"]["value"] < one["metrics"]["r2"]["high"]
    served = [one["protocol"] for one in artifact(found, "prune.saved_model.float32")["runs"]]
    assert served == ["grpc", "rest"]
    assert all(one["checks"][0]["problems"] == [] for one in artifact(found, "prune.saved_model.float32")["runs"])
    page = (cwd / "runs" / "diabetes" / "report.html").read_text(encoding="utf-8")
    assert "R2 on the test split" in page
    assert "accuracy</th>" not in page


def test_r2_in_the_report_is_scikit_learns(cwd: Path) -> None:
    from sklearn.metrics import mean_absolute_error, r2_score

    from pipeline import data
    from pipeline.data import DataConfig

    splits = data.load(DataConfig(source="npz", path=str(cwd / "diabetes.npz"), task="regression"))
    with np.load(cwd / "runs" / "diabetes" / "stages" / "measure" / "logits.npz") as answers:
        answered = answers["train.keras"]
    model = report(cwd, "diabetes")["models"][0]
    assert model["metrics"]["r2"]["value"] == pytest.approx(r2_score(splits.test.y, answered))
    assert model["metrics"]["mae"]["value"] == pytest.approx(mean_absolute_error(splits.test.y, answered), rel=1e-6)


AUTOENCODER = """
name: anomaly
data: {source: digits, task: reconstruction}
model: {architecture: autoencoder, dense: [32], code: 8}
train: {epochs: 60, batch_size: 32, tensorboard: false, optimizer: {name: adam, learning_rate: 0.003}}
prune: {final_sparsity: 0.3, epochs: 3, on_regression: continue, tensorboard: false}
quantize: {epochs: 2, on_regression: continue, tensorboard: false}
export: {tflite: [float32, int8]}
measure: {}
"""


@pytest.mark.long
def test_autoencoder_gives_samples_back_in_every_runtime_and_scores_what_is_unlike_them(cwd: Path) -> None:
    done = run(cwd, AUTOENCODER)
    assert done.returncode == 0, done.stdout + done.stderr
    found = report(cwd, "anomaly")
    for name, low in {"prune.saved_model.float32": 0.999999, "prune.tflite.float32": 0.999999,
                      "prune.onnx.float32": 0.999999, "quantize.tflite.int8": 0.97}.items():  # fmt: skip
        for one in artifact(found, name)["runs"]:
            assert one["parity"]["r2"] > low
            assert 0.3 < one["metrics"]["r2"]["value"] < 1

    from pipeline import data
    from pipeline.data import DataConfig
    from pipeline.formats import onnx

    splits = data.load(DataConfig(task="reconstruction"))
    predictor = onnx.load(cwd / "runs" / "anomaly" / "artifacts" / "prune.onnx.float32.onnx", splits.spec, 1)
    digits = np.asarray(splits.test.x)
    ordinary = predictor.predict(digits)
    assert ordinary["reconstruction"].shape == digits.shape
    assert ordinary["score"] == pytest.approx(
        np.square((ordinary["reconstruction"] - digits) / 16).mean(axis=(1, 2, 3)), abs=1e-5
    )
    noise = np.random.default_rng(0).uniform(0, 16, digits.shape).astype(np.float32)
    assert predictor.predict(noise)["score"].mean() > 3 * ordinary["score"].mean()


TWO = """
name: two
data: {source: npz, path: two.npz}
model: {path: two.keras}
export: {tflite: [float32, int8]}
measure: {}
judge: {gates: {max_accuracy_drop: 0.2, min_parity: 0.9}}
"""


def _two(folder: Path) -> None:
    """A model that takes an image and a number, and answers a class, with a softmax, and a value; and its data."""
    keras = legacy_keras.load()
    keras.utils.set_random_seed(0)
    layers = keras.layers
    image, number = keras.Input((8, 8, 1), name="image"), keras.Input((1,), name="number")
    flat = layers.Dense(24, activation="relu")(layers.Flatten()(layers.Rescaling(1 / 16)(image)))
    both = layers.Concatenate()([flat, number])
    digit = layers.Dense(10, activation="softmax", name="digit")(both)
    total = layers.Dense(1, name="total")(layers.Dense(16, activation="relu")(both))
    model = keras.Model([number, image], [total, digit])
    from sklearn.datasets import load_digits

    bunch = load_digits()
    x, y = bunch.images[..., None].astype(np.float32), bunch.target
    numbers = np.random.default_rng(0).random((len(y), 1), np.float32)
    totals = (y[:, None] / 10 + numbers).astype(np.float32)
    np.savez(folder / "two.npz", x_train_image=x, x_train_number=numbers, y_train_digit=y, y_train_total=totals)
    losses = ["mse", "sparse_categorical_crossentropy"]
    model.compile(keras.optimizers.Adam(3e-3), loss=losses)
    model.fit([numbers, x], [totals, y], epochs=6, verbose=0)
    model.save(folder / "two.keras")


def test_several_inputs_and_outputs_go_through_export_serving_and_parity(cwd: Path) -> None:
    _two(cwd)
    done = run(cwd, TWO)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "import: the softmax inside digit is taken off: its inputs are the logits" in done.stderr
    found = report(cwd, "two")
    assert [item["id"] for item in found["artifacts"]] == [f"import.{name}" for name in FILES]
    for item in found["artifacts"]:
        assert item["error"] is None
        for one in item["runs"]:
            assert {"digit_accuracy", "total_r2", "digit_accuracy_drop", "total_r2_drop"} <= set(one["metrics"])
            low = 0.97 if item["precision"] == "int8" else 0.999999
            assert min(one["parity"]["top1_agreement"], one["parity"]["r2"]) >= low
            assert one["metrics"]["digit_accuracy"]["value"] > 0.85
            assert one["metrics"]["total_r2"]["value"] > 0.8
    served = artifact(found, "import.saved_model.float32")["runs"]
    assert [one["protocol"] for one in served] == ["grpc", "rest"]
    # each of the two inputs is sent malformed, and the other one right
    assert all(one["checks"][0]["requests"] > 30 and one["checks"][0]["problems"] == [] for one in served)
    with np.load(cwd / "runs" / "two" / "stages" / "measure" / "logits.npz") as answers:
        assert {"import.keras#digit_logits", "import.keras#total_value"} <= set(answers.files)
    page = (cwd / "runs" / "two" / "report.html").read_text(encoding="utf-8")
    assert "digit " in page
    assert "total " in page


def test_several_outputs_are_not_trained_and_it_says_so(cwd: Path) -> None:
    done = run(cwd, TWO, "train={epochs: 1}", "judge=null", verb="train")
    assert done.returncode == 2
    assert "a model with several outputs is not trained here" in done.stderr
    assert "found: outputs digit, total" in done.stderr
    assert "leave out train, distill, shrink, prune and quantize" in done.stderr


def test_arrays_that_are_not_named_as_the_models_ends_are_refused_with_both_names(cwd: Path) -> None:
    with np.load(cwd / "two.npz") as stored:
        arrays = {name.replace("number", "count"): stored[name] for name in stored.files}
    np.savez(cwd / "other.npz", **arrays)
    done = run(cwd, TWO, "data.path=other.npz", "judge=null")
    assert done.returncode == 2
    assert "expected: inputs count [1], image [8, 8, 1]; outputs digit [10], total [1]" in done.stderr
    assert "found: inputs number [1], image [8, 8, 1]; outputs total [1], digit [10]" in done.stderr


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("model={architecture: mlp}", "model.architecture 'mlp' is not for this task; expected: data.task"),
        ("data.augment={flip: horizontal}", "data.augment"),
        ("train.label_smoothing=0.1", "train.label_smoothing is for labels, which a reconstruction has not"),
    ],
)
def test_task_and_recipe_have_to_fit(override: str, said: str, cwd: Path) -> None:
    done = run(cwd, AUTOENCODER, override)
    assert done.returncode == 2
    assert said in done.stderr
