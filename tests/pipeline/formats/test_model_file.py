from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.formats import model_file
from pipeline.legacy_keras import load as load_keras
from tests.pipeline.compress import tiny


def _row(*more: Any) -> list[Any]:
    layers = load_keras().layers
    return [layers.Flatten(name="flat"), layers.Dense(4, activation="relu", name="hidden"), *more]


def _saved(model: Any, folder: Path) -> Path:
    path = folder / "model.keras"
    model.save(path, save_format="keras")
    return path


def _dense(activation: str | None = None, name: str = "logits") -> Any:
    return load_keras().layers.Dense(3, activation=activation, name=name)


def test_model_that_ends_in_logits_is_taken_as_it_is(tmp_path: Path) -> None:
    model = tiny.sequential(*_row(_dense()))
    found, notes = model_file.read(_saved(model, tmp_path), tiny.SPEC)
    assert notes == ()
    assert np.array_equal(tiny.answers(found), tiny.answers(model))


@pytest.mark.parametrize(
    ("end", "note"),
    [
        ("dense", "the softmax inside answer is taken off: its inputs are the logits"),
        ("layer", "the model ends in answer: it is cut off, and its input is taken as the logits"),
        ("activation", "the model ends in answer: it is cut off, and its input is taken as the logits"),
    ],
)
@pytest.mark.parametrize("functional", [True, False])
def test_softmax_at_the_end_is_taken_off_and_said(tmp_path: Path, end: str, note: str, functional: bool) -> None:
    keras = load_keras()
    ends = {
        "dense": lambda: [_dense("softmax", "answer")],
        "layer": lambda: [_dense(), keras.layers.Softmax(name="answer")],
        "activation": lambda: [_dense(), keras.layers.Activation("softmax", name="answer")],
    }[end]()
    rows = _row(*ends)
    model = tiny.sequential(*rows) if functional else keras.Sequential([keras.Input((6, 6, 1)), *rows])
    found, notes = model_file.read(_saved(model, tmp_path), tiny.SPEC)
    assert notes == (note,)
    logits = tiny.answers(found)
    assert not np.allclose(logits.sum(axis=1), 1)
    powers = np.exp(logits)
    assert np.allclose(powers / powers.sum(axis=1, keepdims=True), tiny.answers(model), atol=1e-6)
    assert all(len(layer._inbound_nodes) == 1 for layer in found.layers)


def test_softmax_that_is_not_at_the_end_stays(tmp_path: Path) -> None:
    layers = load_keras().layers
    model = tiny.sequential(*_row(layers.Softmax(name="attention"), _dense()))
    found, notes = model_file.read(_saved(model, tmp_path), tiny.SPEC)
    assert notes == ()
    assert np.array_equal(tiny.answers(found), tiny.answers(model))


def test_lambda_is_refused_and_its_code_does_not_run(tmp_path: Path) -> None:
    layers = load_keras().layers
    ran = tmp_path / "ran"
    where = str(ran)
    model = tiny.sequential(
        *_row(layers.Lambda(lambda x: (__import__("pathlib").Path(where).touch(), x)[1], name="code"), _dense())
    )
    path = _saved(model, tmp_path)
    ran.unlink(missing_ok=True)
    with pytest.raises(InputError, match="holds code of its author's") as refused:
        model_file.read(path, tiny.SPEC)
    assert refused.value.expected == "layers of Keras alone"
    assert "ambda" in refused.value.found
    assert not ran.exists()


def test_layer_of_the_users_own_is_refused(tmp_path: Path) -> None:
    keras = load_keras()

    class Twice(keras.layers.Layer):  # type: ignore[misc, name-defined]
        def call(self, inputs: Any) -> Any:
            return 2 * inputs

    Twice.__module__ = "layers_of_the_user"
    path = _saved(tiny.sequential(*_row(Twice(), _dense())), tmp_path)
    with pytest.raises(InputError, match="holds code of its author's") as refused:
        model_file.read(path, tiny.SPEC)
    assert "Twice" in refused.value.found
    assert refused.value.todo == "rebuild the model from Keras' own layers"


@pytest.mark.parametrize(
    ("shape", "classes", "found"),
    [
        ((5, 6, 1), 3, "inputs [(5, 6, 1)], outputs [(3,)]"),
        ((6, 6, 1), 4, "inputs [(6, 6, 1)], outputs [(4,)]"),
        ((36,), 3, "inputs [(36,)], outputs [(3,)]"),
    ],
)
def test_model_for_other_data_is_refused(tmp_path: Path, shape: tuple[int, ...], classes: int, found: str) -> None:
    layers = load_keras().layers
    model = tiny.sequential(layers.Flatten(), layers.Dense(classes), shape=shape)
    with pytest.raises(InputError, match="is not a model for this data") as refused:
        model_file.read(_saved(model, tmp_path), tiny.SPEC)
    assert refused.value.expected == "an input of shape (6, 6, 1) and an output of 3 classes"
    assert refused.value.found == found


def test_model_with_two_inputs_is_refused(tmp_path: Path) -> None:
    keras = load_keras()
    one, two = keras.Input((6, 6, 1)), keras.Input((6, 6, 1))
    both = keras.layers.Flatten()(keras.layers.Add()([one, two]))
    with pytest.raises(InputError, match="is not a model for this data") as refused:
        model_file.read(_saved(keras.Model([one, two], _dense()(both)), tmp_path), tiny.SPEC)
    assert refused.value.found == "inputs [(6, 6, 1), (6, 6, 1)], outputs [(3,)]"


def test_truncated_file_is_refused(tmp_path: Path) -> None:
    path = _saved(tiny.cnn(), tmp_path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="is not a model file") as refused:
        model_file.read(path, tiny.SPEC)
    assert refused.value.found == "a damaged or another file"


def test_file_with_damaged_weights_is_refused(tmp_path: Path) -> None:
    path = _saved(tiny.cnn(), tmp_path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content[:200] if name.endswith(".h5") else content)
    with pytest.raises(InputError, match="cannot be loaded"):
        model_file.read(path, tiny.SPEC)


@pytest.mark.parametrize("content", [b"", b"no archive"])
def test_file_that_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.keras"
    path.write_bytes(content)
    with pytest.raises(InputError, match="is not a model file") as refused:
        model_file.read(path, tiny.SPEC)
    assert refused.value.expected == "a .keras file: a zip archive with metadata.json"


@pytest.mark.parametrize("metadata", [None, "[]", "{}", "not json", "3"])
def test_archive_of_something_else_is_refused(tmp_path: Path, metadata: str | None) -> None:
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
        if metadata is not None:
            archive.writestr("metadata.json", metadata)
    with pytest.raises(InputError, match="is not a model file"):
        model_file.read(path, tiny.SPEC)


def test_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no model file") as refused:
        model_file.read(tmp_path, tiny.SPEC)
    assert (refused.value.found, refused.value.todo) == ("a folder", "export a SavedModel's Keras model first")


def test_path_to_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no model file .*absent\.keras") as refused:
        model_file.read(tmp_path / "absent.keras", tiny.SPEC)
    assert (refused.value.found, refused.value.todo) == ("nothing there", "correct the path")


@pytest.mark.parametrize("suffix", [".h5", ".hdf5"])
def test_hdf5_is_refused_without_being_opened(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(b"whatever")
    with pytest.raises(InputError, match="is not named as one") as refused:
        model_file.read(path, tiny.SPEC)
    assert refused.value.todo == "save it with tf_keras: model.save('model.keras')"


@pytest.mark.parametrize("name", ["model.bin", "model.keras"])
def test_hdf5_with_an_archive_behind_it_is_refused(tmp_path: Path, name: str) -> None:
    # Keras reads such a file as HDF5 where its name does not end in .keras, and zip readers take the archive
    whole = _saved(tiny.cnn(), tmp_path).read_bytes()
    path = tmp_path / name
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + whole)
    with pytest.raises(InputError, match=r"is not named as one|is not a model file"):
        model_file.read(path, tiny.SPEC)


@pytest.mark.parametrize(
    "entry",
    [
        {"class_name": "InstanceMethod", "module": "keras.layers", "config": {}},
        {"class_name": "StringLookup", "module": "keras.layers", "config": {"vocabulary": "/etc/passwd"}},
        {"class_name": "TFOpLambda", "module": "keras.layers", "config": {"function": "io.write_file"}},
        {"class_name": "Dense", "module": "keras_of_the_author", "config": {}},
        {"class_name": "function", "module": "subprocess", "config": "getoutput"},
    ],
    ids=lambda entry: entry["class_name"],
)
def test_what_calls_or_reads_something_that_the_file_names_is_refused(tmp_path: Path, entry: dict[str, Any]) -> None:
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "2.21.0"}))
        archive.writestr("config.json", json.dumps({"config": {"layers": [entry]}}))
    with pytest.raises(InputError, match="holds code of its author's"):
        model_file.read(path, tiny.SPEC)


@pytest.mark.parametrize("answers", [[[0.2, 0.8]], [[0.0, 1.0]]])
def test_answers_that_are_probabilities_are_refused(answers: list[list[float]]) -> None:
    with pytest.raises(InputError, match="answers probabilities") as refused:
        model_file.require_logits(Path("x.keras"), np.array(answers))
    assert "without its last function" in refused.value.todo
    model_file.require_logits(Path("x.keras"), np.array([[-0.1, 0.4]]))


def test_model_of_keras_3_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.12.0"}))
    with pytest.raises(InputError, match="is of another Keras") as refused:
        model_file.read(path, tiny.SPEC)
    assert (refused.value.expected, refused.value.found) == ("Keras 2 (tf_keras)", "Keras 3.12.0")
