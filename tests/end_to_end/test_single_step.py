"""One step on a model file, without a recipe; what comes out, what is refused, and what is left after a kill."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import legacy_keras
from pipeline.formats import keras_file, tflite
from tests.end_to_end import model_files
from tests.end_to_end.command import BRIEFLY, modelmill, options

# few epochs, and a bound on the loss that they keep
BRIEF = ("epochs=4", "batch_size=64", "optimizer={name: adam, learning_rate: 0.002}", "max_accuracy_loss=0.2",
         "teach={temperature: 2, soft_weight: 0.5}", "tensorboard=false")  # fmt: skip


def brief(stage: str, *more: str) -> list[str]:
    """Return --set options for a stage."""
    return options([f"{stage}.{assignment}" for assignment in (*BRIEF, *more)])


@pytest.fixture(scope="module")
def cwd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tiny.keras, which is right on more than nine of ten digits."""
    folder = tmp_path_factory.mktemp("steps")
    model_files.trained(folder / "tiny.keras")
    return folder


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def report(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return loaded


def zeros(array: np.ndarray) -> float:
    return float((array == 0).mean())


@pytest.fixture(scope="module")
def pruned(cwd: Path) -> Any:
    before = digest(cwd / "tiny.keras")
    sets = brief("prune", "final_sparsity=0.6", "layers={conv: null, ends: 0.3}")
    done = modelmill(
        "prune", "--model", "tiny.keras", "--data", "digits", "--out", "pruned", *sets, *options(BRIEFLY), cwd=cwd
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert digest(cwd / "tiny.keras") == before
    return done


@pytest.mark.usefixtures("pruned")
def test_pruned_model_is_a_keras_file_with_the_promised_zeros(cwd: Path) -> None:
    assert [path.name for path in (cwd / "pruned/artifacts").iterdir()] == ["prune.keras"]
    keras = legacy_keras.load()
    model = keras.models.load_model(cwd / "pruned/artifacts/prune.keras", compile=False)
    kernels = {layer.name: layer.get_weights()[0] for layer in model.layers if hasattr(layer, "kernel")}
    assert set(kernels) == {"conv", "hidden", "ends"}
    assert zeros(kernels["conv"]) == 0
    assert zeros(kernels["hidden"]) == pytest.approx(0.6, abs=1 / kernels["hidden"].size)
    assert zeros(kernels["ends"]) == pytest.approx(0.3, abs=1 / kernels["ends"].size)
    assert {type(layer).__module__.partition(".")[0] for layer in model.layers} == {"tf_keras"}


@pytest.mark.usefixtures("pruned")
def test_report_of_a_step_compares_its_model_with_the_file(cwd: Path) -> None:
    found = report(cwd / "pruned")
    assert found["verdict"] == "incomplete"
    assert found["recipe"] == "prune-tiny"
    before, after = found["models"]
    assert (before["stage"], after["stage"]) == ("import", "prune")
    for model in (before, after):
        accuracy = model["metrics"]["accuracy"]
        assert 0.8 < accuracy["low"] < accuracy["value"] < accuracy["high"] <= 1
    drop = after["metrics"]["accuracy_drop_against_previous"]
    assert drop["low"] <= drop["value"] <= drop["high"]
    assert drop == after["metrics"]["accuracy_drop"]
    assert drop["value"] == pytest.approx(
        before["metrics"]["accuracy"]["value"] - after["metrics"]["accuracy"]["value"]
    )
    layers = {layer["name"]: layer for layer in after["layers"]}
    assert [layers[name]["target"] for name in ("conv", "hidden", "ends")] == [None, 0.6, 0.3]
    assert layers["conv"]["reason"] == "the recipe leaves it out (prune.layers)"
    assert len(after["training"]["val_accuracy"]) == 4
    assert before["training"] == {}
    (bought,) = found["bought"]
    assert (bought["stage"], bought["against"], bought["parameters_ratio"]) == ("prune", "import", 1.0)
    assert bought["size_ratio"] > 1.5
    assert (found["reference"], found["final"], found["artifacts"], found["gates"]) == (None, None, [], [])


def test_terminal_says_what_is_done_and_where_the_model_is(pruned: Any, cwd: Path) -> None:
    assert re.search(r"^prune: conv stays dense: the recipe leaves it out \(prune.layers\)$", pruned.stderr, re.M)
    assert re.search(r"^files: +pruned/artifacts/$", pruned.stdout, re.M)
    assert "Traceback" not in pruned.stdout + pruned.stderr
    share = report(cwd / "pruned")["models"][1]["sparsity"]
    assert f"prune: {share:.1%} zeros in 3 kernels".replace("%", " %") in (cwd / "pruned/report.html").read_text(
        "utf-8"
    )


def test_same_step_again_reuses_everything_wherever_the_file_lies(pruned: Any, cwd: Path) -> None:  # noqa: ARG001
    (cwd / "elsewhere").mkdir()
    (cwd / "elsewhere/other.keras").write_bytes((cwd / "tiny.keras").read_bytes())
    sets = brief("prune", "final_sparsity=0.6", "layers={conv: null, ends: 0.3}")
    done = modelmill(
        "prune", "--model", "elsewhere/other.keras", "--data", "digits", "--out", "again", *sets, *options(BRIEFLY),
        cwd=cwd,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert report(cwd / "again")["recipe"] == "prune-other"
    statuses = {stage["name"]: stage["status"] for stage in report(cwd / "again")["stages"]}
    assert {name for name, status in statuses.items() if status == "reused"} == {"import", "prune", "measure"}
    assert "run" not in statuses.values()


@pytest.mark.long
@pytest.mark.usefixtures("pruned")
def test_clustered_model_keeps_the_zeros_of_the_file_and_says_what_it_has(cwd: Path) -> None:
    sets = brief("cluster", "clusters=8", "layers={conv: null}")
    done = modelmill(
        "cluster", "--model", "pruned/artifacts/prune.keras", "--data", "digits", "--out", "clustered", *sets,
        *options(BRIEFLY), cwd=cwd,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    keras = legacy_keras.load()
    before, after = (
        keras.models.load_model(cwd / path, compile=False)
        for path in ("pruned/artifacts/prune.keras", "clustered/artifacts/cluster.keras")
    )
    for layer in after.layers:
        for weight, came in zip(layer.weights, before.get_layer(layer.name).weights, strict=True):
            if len(weight.shape) >= 2:
                assert np.all(weight.numpy()[came.numpy() == 0] == 0)
                assert layer.name == "conv" or np.unique(weight.numpy()).size <= 8
    found = report(cwd / "clustered")
    layers = {layer["name"]: layer for layer in found["models"][1]["layers"]}
    assert (layers["ends"]["clusters"], layers["ends"]["clustered"], layers["ends"]["distinct"]) == (8, "tensor", 8)
    assert layers["conv"]["reason"] == "the recipe leaves it out (cluster.layers)"
    bought = found["bought"][0]
    assert (bought["stage"], bought["against"]) == ("cluster", "import")
    assert bought["size_ratio"] > 1.2
    assert re.search(r"cluster: distinct weights 8 of 8: .*ends", done.stdout)
    assert "distinct weights</th>" in (cwd / "clustered/report.html").read_text(encoding="utf-8")


@pytest.mark.usefixtures("pruned")
def test_quantized_model_keeps_the_zeros_of_the_file_in_its_int8_file(cwd: Path) -> None:
    model = "pruned/artifacts/prune.keras"
    before = digest(cwd / model)
    sets = brief("quantize", "freeze_ranges_epochs=1")
    done = modelmill(
        "quantize", "--model", model, "--data", "digits", "--out", "quantized", *sets, *options(BRIEFLY), cwd=cwd
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert digest(cwd / model) == before
    names = {path.name for path in (cwd / "quantized/artifacts").iterdir()}
    assert names == {
        "import.saved_model.float32", "import.tflite.float32.tflite", "quantize.saved_model.fake-quant",
        "quantize.tflite.int8.tflite", "labels.txt",
    }  # fmt: skip
    kernels = tflite.kernels(cwd / "quantized/artifacts/quantize.tflite.int8.tflite")
    by_size = {array.size: array for array in kernels.values()}
    assert all(array.dtype == np.int8 for array in by_size.values())
    assert zeros(by_size[128 * 32]) >= 0.6 - 1 / (128 * 32)
    assert zeros(by_size[32 * 10]) >= 0.3 - 1 / (32 * 10)
    found = report(cwd / "quantized")
    assert (found["reference"], found["to_serve"]) == ("import.saved_model.float32",) * 2
    assert found["final"] == "quantize.tflite.int8"
    (int8,) = [artifact for artifact in found["artifacts"] if artifact["id"] == found["final"]]
    assert int8["error"] is None
    assert (int8["operators"]["floating"], int8["operators"]["first_integer"]) == (0, True)
    assert int8["runs"][0]["parity"]["top1_agreement"] > 0.97
    assert [model["stage"] for model in found["models"]] == ["import", "quantize"]


def test_student_learns_from_the_file_and_is_a_keras_file(cwd: Path) -> None:
    sets = brief("distill", "student={architecture: mlp, dense: [16]}", "max_accuracy_loss=0.9")
    done = modelmill(
        "distill", "--model", "tiny.keras", "--data", "digits", "--out", "student", *sets, *options(BRIEFLY), cwd=cwd
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert [path.name for path in (cwd / "student/artifacts").iterdir()] == ["distill.keras"]
    model = legacy_keras.load().models.load_model(cwd / "student/artifacts/distill.keras", compile=False)
    assert model.count_params() < 1500 < model_files.tiny().count_params()
    models = report(cwd / "student")["models"]
    assert [(one["stage"], one["variant"]) for one in models] == [("import", ""), ("distill", ""), ("distill", "alone")]
    gain = models[1]["metrics"]["accuracy_gain_by_teaching"]
    assert gain["low"] <= gain["value"] <= gain["high"]


@pytest.mark.parametrize("verb", [pytest.param("export", marks=pytest.mark.long), "validate"])
def test_file_is_exported_and_validated_as_it_is(verb: str, cwd: Path) -> None:
    sets = ["export={tflite: [float32], onnx: []}"] + ([*BRIEFLY, "serving=null"] if verb == "validate" else [])
    done = modelmill(verb, "--model", "tiny.keras", "--data", "digits", "--out", verb, *options(sets), cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    found = report(cwd / verb)
    assert [artifact["id"] for artifact in found["artifacts"]] == [
        "import.saved_model.float32",
        "import.tflite.float32",
    ]
    for artifact in found["artifacts"]:
        assert artifact["error"] is None
        assert [run["parity"]["top1_agreement"] for run in artifact["runs"]] == ([1.0] if verb == "validate" else [])
        assert (cwd / verb / artifact["path"]).exists()


def test_model_that_ends_in_softmax_is_cut_to_its_logits_and_that_is_said(cwd: Path) -> None:
    model_files.trained(cwd / "soft.keras", softmax=True)
    sets = options(["export={tflite: [], onnx: []}"])
    done = modelmill("export", "--model", "soft.keras", "--data", "digits", "--out", "soft", *sets, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "import: the softmax inside ends is taken off: its inputs are the logits" in done.stderr
    network, _ = keras_file.read(cwd / "soft/stages/import")
    probabilities = legacy_keras.load().models.load_model(cwd / "soft.keras", compile=False)
    samples = np.random.default_rng(0).uniform(0, 16, (32, 8, 8, 1)).astype(np.float32)
    logits = network.predict(samples, verbose=0)
    assert logits.min() < 0  # no probabilities
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(
        powers / powers.sum(axis=1, keepdims=True), probabilities.predict(samples, verbose=0), atol=1e-5
    )


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with model files that are none, or none for the digits."""
    folder = tmp_path_factory.mktemp("bad")
    keras = legacy_keras.load()
    model = model_files.tiny()
    model.save(folder / "good.keras", save_format="keras")
    model.save_weights(folder / "alone.h5")
    whole = (folder / "good.keras").read_bytes()
    (folder / "truncated.keras").write_bytes(whole[: len(whole) // 2])
    (folder / "text.keras").write_text("not a model\n", encoding="utf-8")
    (folder / "folder.keras").mkdir()
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]).save(folder / "iris.keras", save_format="keras")
    marker = folder / "lambda-ran"
    code = f"lambda x: (open({str(marker)!r}, 'w').close(), x)[1]"
    layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Lambda(eval(code)), keras.layers.Dense(10)]
    keras.Sequential(layers).save(folder / "lambda.keras", save_format="keras")
    marker.unlink()  # it ran here, when the model was built
    good = folder / "good.keras"
    model_files.rewritten(good, folder / "function.keras", model_files.is_no_model)
    for name, change in (("command", model_files.runs_a_command), ("writer", model_files.writes_a_file)):
        functional = folder / "functional.keras"
        ends = keras.layers.Dense(10)(keras.layers.Flatten()(start := keras.Input((8, 8, 1))))
        keras.Model(start, ends).save(functional, save_format="keras")
        model_files.rewritten(functional, folder / f"{name}.keras", change(str(folder / f"{name}-ran")))
    model_files.keras_3(folder)
    return folder


FILE = ["--model", "good.keras", "--data", "digits"]
NO_CODE = "expected: layers of Keras alone"

# the same messages, asked for without a process in tests/pipeline/formats/model_file and compress/test_pruning.py
KNOWN = [
    (["prune", "--model", "text.keras", "--data", "digits"], ["text.keras is not a model file"]),
    (["prune", "--model", "alone.h5", "--data", "digits"],
     ["the model file alone.h5 holds no whole model", "found: weights alone", "model.load_weights('alone.h5')"]),
    (["prune", *FILE, "--set", "prune.layers={convolution: 0.5}"],
     ["prune.layers names what is no layer of the model", "found: convolution", "names or patterns of "]),
    (["prune", *FILE, "--set", "prune.layers={relu: 0.5}"],
     ["prune.layers asks for zeros in layers that cannot be pruned", "relu: it has no kernel", "leave them out"]),
    (["prune", *FILE, "--set", "prune.layers={'*': null}"], ["there is nothing to prune in the model"]),
    (["prune", "--model", "function.keras", "--data", "digits"], ["function.keras"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["prune", "--model", "good.keras"], ["needs both the model and its data", "found: --model alone"]),
        (["prune", "--data", "digits"], ["needs both the model and its data", "found: --data alone"]),
        (["prune", "digits", *FILE], ["prune takes a recipe, or --model and --data", "the recipe being digits"]),
        (["train", *FILE], ["No such option"]),
        (["prune", "--model", "good.keras", "--data", "mnst"], ["--data mnst: no such data", "expected: digits, "]),
        (["prune", "--model", "good.keras", "--data", "no.npz"], ["no.npz"]),
        (["distill", *FILE], ["distill.student: expected a value, found nothing"]),
        (["prune", *FILE, "--set", "prune.final_sparsity=80"], ["prune.final_sparsity: expected less than 1"]),
        (["prune", *FILE, "--from", "train"], ["has no stage train", "one of import, prune, measure"]),
        (["prune", "--model", "none.keras", "--data", "digits"],
         ["there is no model file none.keras", "found: nothing there", "correct model.path, or --model"]),
        (["prune", "--model", "folder.keras", "--data", "digits"],
         ["there is no model file folder.keras", "found: a folder"]),
        (["prune", "--model", "truncated.keras", "--data", "digits"],
         ["truncated.keras is not a model file", "a damaged or another file", "save the model with tf_keras"]),
        (["prune", "--model", "keras3.keras", "--data", "digits"],
         ["the Keras 3 model in keras3.keras cannot become one of tf_keras",
          "rms: a RMSNormalization (tf_keras has none)", "layer: LayerNormalization with rms_scaling=True",
          "ends: the activation celu"]),
        (["prune", "--model", "iris.keras", "--data", "digits"],
         ["the model in iris.keras is not a model for this data",
          "expected: an input of shape (8, 8, 1) and an output of 10 classes", "inputs [(4,)], outputs [(3,)]",
          "name the data that it was trained on"]),
        (["distill", *FILE, "--set", "distill={student: {architecture: mlp}, teachers: [a.keras, b.keras]}"],
         ["distill.teachers names files that are not there", "found: a.keras, b.keras"]),
        *(pytest.param(*case, marks=pytest.mark.long) for case in KNOWN),
    ],
)  # fmt: skip
def test_mistake_is_one_message_and_exit_2(arguments: list[str], words: list[str], bad: Path, tmp_path: Path) -> None:
    done = modelmill(*arguments, "--store", str(tmp_path / "store"), "--out", str(tmp_path / "out"), cwd=bad)
    assert done.returncode == 2, done.stdout + done.stderr
    for word in words:
        assert word in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


# the other two are refused by the same scan, which tests/pipeline/formats/model_file/test_hostile.py holds to account
@pytest.mark.parametrize(
    "name", ["lambda", *(pytest.param(name, marks=pytest.mark.long) for name in ("command", "writer"))]
)
def test_code_inside_a_model_file_is_refused_and_does_not_run(name: str, bad: Path, tmp_path: Path) -> None:
    folders = ["--store", str(tmp_path / "store"), "--out", str(tmp_path / "out")]
    done = modelmill("prune", "--model", f"{name}.keras", "--data", "digits", *folders, cwd=bad)
    assert done.returncode == 2, done.stdout + done.stderr
    assert not (bad / f"{name}-ran").exists()
    assert f"the model file {name}.keras " in done.stderr
    assert NO_CODE in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_mistyped_file_leaves_no_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["--data", "digits", "--store", str(tmp_path / "store"), "--out", str(out)]
    done = modelmill("prune", "--model", "mispelt.keras", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert "correct model.path, or --model" in done.stderr
    assert not out.exists()
    assert not (tmp_path / "store").exists()


def test_module_that_a_model_file_names_is_not_imported(bad: Path, tmp_path: Path) -> None:
    folders = ["--store", str(tmp_path / "store"), "--out", str(tmp_path / "out")]
    modelmill("prune", "--model", "function.keras", "--data", "digits", *folders, cwd=bad)
    assert "The Zen of Python" not in (tmp_path / "out/log.txt").read_text(encoding="utf-8")


BROKEN = [
    "prune", "--model", "tiny.keras", "--data", "digits", "--out", "broken",
    *options(["prune.epochs=1", "prune.final_sparsity=0.95", "measure=null"]),
]  # fmt: skip


def test_broken_promise_ends_with_exit_4_and_says_what_to_do_without_training_again(cwd: Path) -> None:
    done = modelmill(*BROKEN, cwd=cwd)
    assert done.returncode == 4, done.stdout + done.stderr
    assert "prune: more accuracy is lost than the recipe allows" in done.stderr
    assert "expected: at most 2 points (prune.max_accuracy_loss)" in done.stderr
    assert re.search(r"found: \d\d\.\d\d% on the validation split, the model that came in had 9\d\.\d\d%", done.stderr)
    todo = "what to do: a milder prune, prune.teach or more prune.epochs; or take it as it is, trained already: "
    assert todo + "prune.max_accuracy_loss or prune.on_regression=continue" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    found = report(cwd / "broken")
    assert found["verdict"] == "error"
    assert (found["failure"]["stage"], found["failure"]["exit_code"]) == ("prune", 4)
    assert [model["stage"] for model in found["models"]] == ["import", "prune"]
    assert not (cwd / "broken/artifacts").exists()

    # the same again, but the user takes it as it is
    done = modelmill(*BROKEN, "--set", "prune.on_regression=continue", cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "prune: goes on all the same: " in done.stderr
    assert [path.name for path in (cwd / "broken/artifacts").iterdir()] == ["prune.keras"]
    statuses = {stage["name"]: stage["status"] for stage in report(cwd / "broken")["stages"]}
    assert (statuses["import"], statuses["prune"]) == ("reused", "reused")
