"""`modelmill doctor` as people call it: recipes and model files, the table, JSON and exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.errors import InputError
from pipeline.legacy_keras import load as load_keras
from tests.pipeline.formats.plain import graphs
from tests.pipeline.own_code import files

CNN = ["digits", "--set", "model={architecture: cnn, filters: [16, 32]}", "--set", "distill=null"]


@pytest.fixture
def doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *arguments: CliRunner().invoke(app, ["doctor", *arguments])


@pytest.fixture
def model(tmp_path: Path) -> Path:
    keras = load_keras()
    layers = keras.layers
    inputs = keras.Input((8, 8, 1), name="image")
    values = layers.Conv2D(16, 3, name="conv")(inputs)
    values = layers.GlobalAveragePooling2D(name="mean")(layers.ELU(name="elu")(values))
    path = tmp_path / "mine.keras"
    keras.Model(inputs, layers.Dense(10, activation="softmax", name="end")(values)).save(path)
    return path


def test_recipe_that_can_work_is_shown_layer_by_layer_and_ends_with_0(doctor: Callable[..., Any]) -> None:
    done = doctor(*CNN)
    assert done.exit_code == 0, done.output
    for words in ("conv_1", "fewer channels", "int8 per-channel", "quantize.tflite.int8", "activations float32",
                  "what will get no faster", "all that is asked for can work"):  # fmt: skip
        assert words in done.output
    assert not list(Path().iterdir())  # nothing is stored


def test_all_that_cannot_work_is_listed_and_ends_with_1(doctor: Callable[..., Any]) -> None:
    wrong = ("--set", "prune.layers={conv_9: 0.5}", "--set", "shrink={parameters: 0.001}")
    done = doctor(*CNN, *wrong, "--json")
    assert done.exit_code == 1
    told = json.loads(done.output)
    assert told["exit_code"] == 1
    assert [one["stage"] for one in told["problems"]] == ["shrink", "prune"]
    assert "0.1% of the parameters cannot be reached" in told["problems"][0]["message"]
    assert "found: conv_9" in told["problems"][1]["message"]
    assert [one["stage"] for one in told["lines"][0]["stages"]] == ["train", "shrink", "prune", "quantize"]


def test_what_a_device_needs_and_this_machine_lacks_is_told(doctor: Callable[..., Any]) -> None:
    sets = ["edge.profile=esp32-s3", "edge.command=[no-such-adb, '{model}']"]
    done = doctor("digits-mlp", *[part for one in sets for part in ("--set", one)])
    assert done.exit_code == 1
    assert "edge.command cannot be run: no-such-adb" in " ".join(done.output.split())


def test_what_is_measured_first_is_marked_and_said_to_be_decided_by_it(doctor: Callable[..., Any]) -> None:
    done = doctor(*CNN, "--set", "prune={exclude: auto, final_sparsity: 0.8}", "--set", "shrink=null")
    assert done.exit_code == 0, done.output
    assert "80% zeros?" in done.output
    assert "decided by sensitivity, which may leave layers out (prune.exclude: auto): conv_1" in done.output


def test_stage_that_cannot_work_is_told_once_and_not_at_each_layer(doctor: Callable[..., Any]) -> None:
    done = doctor(*CNN, "--set", "shrink=null", "--set", "prune={policy: xnnpack, final_sparsity: 0.8}")
    assert done.exit_code == 1
    assert "refused" not in done.output
    assert "not in the table, since what they ask for cannot work: prune" in done.output
    assert done.output.count("XNNPACK would compute this model densely") == 1
    assert "but conv_1 reads 1 channel, has stride 1 x 1, has padding same" in done.output


def test_names_are_whole_where_nobody_looks_at_a_terminal(
    doctor: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    done = doctor(*CNN)
    assert "BatchNormalization" in done.output
    assert "…" not in done.output


def test_candidates_are_told_apart(doctor: Callable[..., Any]) -> None:
    models = "model={candidates: [{architecture: mlp, dense: [8]}, {architecture: cnn, filters: [16]}]}"
    done = doctor("digits", "--set", models, "--set", "distill=null", "--set", "prune.layers={conv_1: 0.5}",
                  "--set", "shrink=null", "--json")  # fmt: skip
    told = json.loads(done.output)
    assert done.exit_code == 1
    assert [line["of"] for line in told["lines"]] == ["mlp, dense: [8]", "cnn, filters: [16]"]
    assert [len(line["problems"]) for line in told["lines"]] == [1, 0]
    assert told["problems"][0]["message"].startswith("mlp, dense: [8]: prune.layers names what is no layer")


def test_model_file_is_looked_at_without_data(doctor: Callable[..., Any], model: Path) -> None:
    done = doctor(str(model), "--json")
    assert done.exit_code == 0, done.output
    (line,) = json.loads(done.output)["lines"]
    assert [one["stage"] for one in line["stages"]] == ["import", "shrink", "prune", "cluster", "quantize"]
    quantized = {layer["name"]: layer for layer in line["stages"][-1]["layers"]}
    assert (quantized["conv"]["how"], quantized["elu"]["how"]) == ("yes", "float")
    assert quantized["elu"]["reason"]
    assert {one["id"] for one in line["files"]} >= {"cluster.tflite.float32", "quantize.tflite.int8"}


def test_stages_of_a_model_file_are_changed_by_set(doctor: Callable[..., Any], model: Path) -> None:
    done = doctor(str(model), "--set", "shrink=null", "--set", "prune.layers={elu: 0.5}", "--json")
    assert done.exit_code == 1
    (problem,) = json.loads(done.output)["problems"]
    assert "elu: it has no kernel" in problem["message"]


def test_model_file_is_held_to_data_where_it_is_named(doctor: Callable[..., Any], model: Path) -> None:
    keras = load_keras()
    loaded = keras.models.load_model(model)
    other = keras.Model(loaded.input, keras.layers.Dense(3)(loaded.get_layer("mean").output))
    other.save(model.with_name("three.keras"))
    refused = doctor("three.keras", "--data", "digits").exception
    assert isinstance(refused, InputError)
    assert "is not a model for this data" in str(refused)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["digits", "--data", "digits"], "--data and --allow-custom-code are for a model file"),
        (["absent.keras"], "absent.keras"),
        (["digits", "--set", "prune.final_sparsity=2"], "prune.final_sparsity"),
    ],
)
def test_wrong_input_is_refused_as_everywhere(doctor: Callable[..., Any], arguments: list[str], words: str) -> None:
    refused = doctor(*arguments).exception
    assert isinstance(refused, InputError)
    assert refused.exit_code == 2
    assert words in str(refused)


def test_saved_model_without_data_says_what_to_do(doctor: Callable[..., Any], tmp_path: Path) -> None:
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(b"")
    refused = doctor("served").exception
    assert "name the data: --data DATA" in str(refused)


def test_file_of_another_format_is_told_which_models_can_be_examined(doctor: Callable[..., Any]) -> None:
    Path("served.tflite").write_bytes(b"\x1c\0\0\0TFL3")
    refused = str(doctor("served.tflite").exception)
    assert "expected: a .keras or .h5 file that Keras wrote" in refused
    assert "found: TensorFlow Lite" in refused
    assert "take the Keras model that it was made from" in refused


def test_folder_of_versions_names_the_newest(doctor: Callable[..., Any], tmp_path: Path) -> None:
    for version in ("2", "10"):
        (tmp_path / "served" / version).mkdir(parents=True)
        (tmp_path / "served" / version / "saved_model.pb").write_bytes(b"")
    refused = str(doctor("served").exception)
    assert "found: a folder of a SavedModel's versions: 2, 10" in refused
    assert f"what to do: name the version: {Path('served/10')}" in refused


def test_graph_without_layers_is_exported_as_it_is(doctor: Callable[..., Any], tmp_path: Path) -> None:
    import tensorflow as tf

    graphs.graph(tmp_path / "served", tf.nn.softmax)
    done = doctor("served", "--data", "digits", "--json")
    assert done.exit_code == 0, done.output
    (line,) = json.loads(done.output)["lines"]
    ((stage,), files) = line["stages"], {one["id"] for one in line["files"]}
    assert (stage["stage"], stage["layers"], stage["parameters"]) == ("import", [], 650)
    assert files >= {"import.saved_model.float32", "import.tflite.int8", "import.onnx.int8"}
    assert not any(one["refused"] for one in line["files"])


def test_model_that_the_users_code_builds_is_told_layer_by_layer(doctor: Callable[..., Any], tmp_path: Path) -> None:
    builder = files.scaled(tmp_path / "own").builder
    model = ("--set", f"model={{builder: '{builder}', options: {{units: 8}}}}", "--set", "distill=null")
    done = doctor("digits", *model, "--set", "shrink=null", "--set", "prune={final_sparsity: 0.5}", "--trust", "--json")
    assert done.exit_code == 0, done.output
    (line,) = json.loads(done.output)["lines"]
    stages = {one["stage"]: {layer["kind"]: layer for layer in one["layers"]} for one in line["stages"]}
    assert stages["train"]["Scale"]["parameters"] == 1
    assert (stages["prune"]["Scale"]["how"], stages["prune"]["Dense"]["how"]) == ("nothing", "yes")
    quantized = stages["quantize"]
    assert (quantized["Scale"]["how"], quantized["Dense"]["how"]) == ("float", "yes")
    assert "its code is not Keras'" in quantized["Scale"]["reason"]


def test_help_teaches_what_is_told(doctor: Callable[..., Any]) -> None:
    said = " ".join(doctor("--help").output.split())
    for words in ("before any training", "no faster", "--data DATA", "1 something cannot"):
        assert words in said
