"""A recipe that starts from a model file of the user's: proven, fine-tuned, and with code in it only when allowed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import legacy_keras
from pipeline.formats import keras_file
from tests.end_to_end import model_files
from tests.end_to_end.command import BRIEFLY, modelmill, options

FLOAT = ["export={tflite: [float32], onnx: []}", *BRIEFLY, "serving=null"]


@pytest.fixture(scope="module")
def cwd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the same model as tiny.keras and tiny.h5, and one with a Lambda layer that writes `ran`."""
    folder = tmp_path_factory.mktemp("own")
    model_files.trained(folder / "tiny.keras")
    keras = legacy_keras.load()
    keras.models.load_model(folder / "tiny.keras").save(folder / "tiny.h5", save_format="h5")
    scale = eval(f"lambda x: (open({str(folder / 'ran')!r}, 'w').close(), x / 16)[1]")
    layers = [keras.Input((8, 8, 1)), keras.layers.Lambda(scale, name="scale"), keras.layers.Flatten()]
    model = keras.Sequential([*layers, keras.layers.Dense(10, name="ends")])
    model.save(folder / "code.h5", save_format="h5")
    (folder / "ran").unlink()
    return folder


def report(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return loaded


def metrics(folder: Path, stage: str) -> dict[str, float]:
    found: dict[str, float] = next(one for one in report(folder)["stages"] if one["name"] == stage)["metrics"]
    return found


def weights(folder: Path, stage: str) -> list[np.ndarray]:
    model, _ = keras_file.read(folder / "stages" / stage)
    found: list[np.ndarray] = model.get_weights()
    return found


RECIPE = """
name: mine
data: {source: digits}
model: {path: tiny.h5}
train: {epochs: 2, optimizer: {name: adam, learning_rate: 0.0005}, tensorboard: false}
prune: {epochs: 2, final_sparsity: 0.3, max_accuracy_loss: 0.5, tensorboard: false, teach: {}}
"""


def test_recipe_fine_tunes_the_file_and_compares_everything_with_it(cwd: Path) -> None:
    (cwd / "mine.yaml").write_text(RECIPE, encoding="utf-8")
    sets = options(["export={tflite: [], onnx: []}", *BRIEFLY])
    done = modelmill("run", "mine.yaml", "--out", "mine", *sets, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    proof = "import: 9 of 9 weights equal the file's, read by h5py; answers to 64 validation samples, each model in a "
    assert proof + "fresh process: all equal" in done.stderr
    assert "train: starts from the weights of the model file (fine-tuning)" in done.stderr
    found = report(cwd / "mine")
    assert [model["stage"] for model in found["models"]] == ["import", "train", "prune"]
    assert (found["reference"], found["to_serve"]) == ("import.saved_model.float32", "prune.saved_model.float32")
    assert len(found["training"]["loss"]) == 2
    imported = metrics(cwd / "mine", "import")
    assert (imported["weights_equal_to_file"], imported["answers_compared_with_file"]) == (9, 64)
    assert imported["largest_difference_from_file"] == 0
    trained = metrics(cwd / "mine", "train")
    assert trained["val_accuracy_before"] == imported["val_accuracy"] > 0.9
    assert metrics(cwd / "mine", "prune")["val_accuracy_before"] == pytest.approx(trained["val_accuracy"])
    before, after = weights(cwd / "mine", "import"), weights(cwd / "mine", "train")
    distance = max(float(np.abs(one - other).max()) for one, other in zip(before, after, strict=True))
    assert 0 < distance < 0.2  # from there, and not from new weights
    file = legacy_keras.load().models.load_model(cwd / "tiny.keras", compile=False)
    for one, other in zip(file.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)
    page = (cwd / "mine/report.html").read_text("utf-8")
    assert "weights equal to file 9" in page


INSIDE = """
name: inside
data: {source: digits}
model: {path: inside.keras}
prune: {epochs: 1, final_sparsity: 0.2, layers: {"body_*": 0.7}, max_accuracy_loss: 1, tensorboard: false}
quantize: {epochs: 1, max_accuracy_loss: 1, tensorboard: false}
export: {saved_model: [float32], tflite: [int8], onnx: []}
"""


@pytest.mark.long
def test_layers_of_a_model_inside_are_pruned_and_quantized(cwd: Path) -> None:
    keras = legacy_keras.load()
    base = keras.models.load_model(cwd / "tiny.keras", compile=False)
    body = keras.Sequential(base.layers[:-1], name="body")
    raw = keras.Input((8, 8, 1))
    model = keras.Model(raw, keras.layers.Dense(10, "softmax", name="answers")(body(raw, training=False)))
    model.get_layer("answers").set_weights(base.layers[-1].get_weights())
    model.save(cwd / "inside.keras", save_format="keras")
    (cwd / "inside.yaml").write_text(INSIDE, encoding="utf-8")
    done = modelmill("run", "inside.yaml", "--out", "inside", *options(BRIEFLY), cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    text = "models inside the model are written out layer by layer, with the same weights and answers: body (7 layers)"
    assert f"import: {text}" in done.stderr
    assert metrics(cwd / "inside", "import")["val_accuracy"] > 0.9
    pruned, _ = keras_file.read(cwd / "inside/stages/prune")
    zeros = {name: (pruned.get_layer(name).get_weights()[0] == 0).mean() for name in ("body_hidden", "answers")}
    assert zeros["body_hidden"] >= 0.69
    assert 0.19 <= zeros["answers"] < 0.3
    (lite,) = (one for one in report(cwd / "inside")["artifacts"] if one["id"] == "quantize.tflite.int8")
    assert lite["operators"]["floating"] == 0


def test_code_in_a_file_runs_only_when_the_user_says_so(cwd: Path) -> None:
    ran = cwd / "ran"
    ran.unlink(missing_ok=True)
    arguments = ["validate", "--model", "code.h5", "--data", "digits", "--out", "code"]
    done = modelmill(*arguments, *options(FLOAT), cwd=cwd)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "the model file code.h5 holds code of its author's" in done.stderr
    assert "found: a Lambda (layer scale)" in done.stderr
    assert "model.allow_custom_code: true (--set model.allow_custom_code=true)" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not ran.exists()

    done = modelmill(*arguments, "--allow-custom-code", *options(FLOAT), cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ran.exists()
    assert "import: model.allow_custom_code is true: code of the file's author runs here" in done.stderr
    assert "import: code of its author's in the model: a Lambda (layer scale)" in done.stderr
    for artifact in report(cwd / "code")["artifacts"]:
        assert artifact["error"] is None
        assert artifact["runs"][0]["parity"]["top1_agreement"] == 1

    # what was allowed once is not allowed for good, though its result is stored
    ran.unlink()
    done = modelmill(*arguments, *options(FLOAT), cwd=cwd)
    assert done.returncode == 2
    assert not ran.exists()


def test_flag_without_a_file_is_refused(cwd: Path) -> None:
    done = modelmill("prune", "mine.yaml", "--allow-custom-code", cwd=cwd)
    assert done.returncode == 2
    assert "in a recipe it is the key model.allow_custom_code" in done.stderr
