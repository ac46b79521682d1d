"""Files that are damaged, something else, or models for other data: each is one message with what to do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.formats.model_file.scan import scan
from pipeline.legacy_keras import load as load_keras
from pipeline.predictor import classifier
from tests.pipeline.compress import tiny
from tests.pipeline.formats.model_file import files
from tests.pipeline.formats.model_file.conftest import Good, saved

SUFFIXES = (".keras", ".h5")
NO_MODEL = "is not a model file"
OTHER = "is of another format"
LOAD = "cannot be loaded"
DATA = "is not a model for this data"
Make = Callable[[Good, Path], Path]


def content(name: str, text: bytes) -> Make:
    def make(_: Good, folder: Path) -> Path:
        path = folder / name
        path.write_bytes(text)
        return path

    return make


def part(suffix: str, share: float) -> Make:
    def make(good: Good, folder: Path) -> Path:
        whole = good.file("plain", suffix).read_bytes()
        path = folder / f"m{suffix}"
        path.write_bytes(whole[: int(len(whole) * share)])
        return path

    return make


def hole(suffix: str, start: int) -> Make:
    """Zero some bytes."""

    def make(good: Good, folder: Path) -> Path:
        whole = bytearray(good.file("plain", suffix).read_bytes())
        whole[start : start + 400] = bytes(400)
        path = folder / f"m{suffix}"
        path.write_bytes(whole)
        return path

    return make


def archive(**changed: bytes | None) -> Make:
    """Replace members of an archive (config, metadata, weights); None takes one away."""
    names = {"config": "config.json", "metadata": "metadata.json", "weights": "model.weights.h5"}

    def make(good: Good, folder: Path) -> Path:
        contents: dict[str, Any] = files.members(good.file("plain", ".keras"))
        contents |= {names[key]: value for key, value in changed.items()}
        kept = {name: value for name, value in contents.items() if value is not None}
        return files.packed(folder / "m.keras", kept)

    return make


def config(suffix: str, change: files.Change) -> Make:
    return lambda good, folder: files.configured(good.file("plain", suffix), folder / f"m{suffix}", change)


def weights(suffix: str, change: Callable[[h5py.File], Any]) -> Make:
    return lambda good, folder: files.reweighted(good.file("plain", suffix), folder / f"m{suffix}", change)


def attribute(name: str, value: Any) -> Make:
    def change(file: h5py.File) -> None:
        if value is None:
            del file.attrs[name]
        else:
            file.attrs[name] = value

    return weights(".h5", change)


def kernel(file: h5py.File) -> str:
    """Return the path of a kernel in either layout."""
    found: list[str] = []
    file.visit(lambda name: found.append(name) if name.endswith(("hidden/kernel:0", "layers/dense/vars/0")) else None)
    return found[0]


def replaced(by: Callable[[np.ndarray], np.ndarray]) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        path = kernel(file)
        value = by(file[path][()])
        del file[path]
        file[path] = value

    return change


def taken(file: h5py.File) -> None:
    del file[kernel(file)]


def poisoned(values: np.ndarray) -> np.ndarray:
    values.flat[7] = np.nan
    return values


def no_group(file: h5py.File) -> None:
    del file["model_weights"]
    file["model_weights"] = np.zeros(3, "f4")


def emptied(file: h5py.File) -> None:
    group = file.get("model_weights", file)
    for name in list(group):
        del group[name]


def model(suffix: str, *layers: Callable[[Any], Any], shape: tuple[int | None, ...] = (6, 6, 1)) -> Make:
    def make(_: Good, folder: Path) -> Path:
        keras = load_keras()
        values = inputs = keras.Input(shape)
        for layer in layers:
            values = layer(keras.layers)(values)
        return saved(keras.Model(inputs, values), folder / f"m{suffix}")

    return make


def two_ends(suffix: str, *, inputs: bool) -> Make:
    def make(_: Good, folder: Path) -> Path:
        keras = load_keras()
        one, two = keras.Input((6, 6, 1)), keras.Input((6, 6, 1))
        flat = keras.layers.Flatten()
        if inputs:
            built = keras.Model([one, two], keras.layers.Dense(3)(flat(keras.layers.Add()([one, two]))))
        else:
            built = keras.Model(one, [keras.layers.Dense(3)(flat(one)), keras.layers.Dense(2)(flat(one))])
        return saved(built, folder / f"m{suffix}")

    return make


def weights_alone(name: str) -> Make:
    def make(_: Good, folder: Path) -> Path:
        tiny.cnn().save_weights(folder / name)
        return folder / name

    return make


def saved_model(_: Good, folder: Path) -> Path:
    (folder / "model").mkdir()
    (folder / "model" / "saved_model.pb").write_bytes(b"")
    return folder / "model"


def nested_deep(found: dict[str, Any]) -> None:
    deep: dict[str, Any] = {}
    for _ in range(600):
        deep = {"x": deep}
    found["config"]["layers"][1]["deep"] = deep


def no_layers(found: dict[str, Any]) -> None:
    found.clear()
    found.update({"class_name": "Dense", "module": "keras.layers", "config": {"units": 3}, "registered_name": None})


def wrong_units(found: dict[str, Any]) -> None:
    files.dense(found)["config"]["units"] = 9


def float16(found: dict[str, Any]) -> None:
    policy = {"class_name": "Policy", "config": {"name": "mixed_float16"}}
    files.dense(found)["config"]["dtype"] = policy | {"module": "keras.mixed_precision", "registered_name": None}


def unknown_option(found: dict[str, Any]) -> None:
    files.dense(found)["config"]["colour"] = "blue"


BROKEN: dict[str, tuple[Make, str, list[str]]] = {
    "nothing there": (lambda _, folder: folder / "absent.keras", "there is no model file",
                      ["found: nothing there", "correct model.path, or --model"]),
    "a folder": (lambda _, folder: folder, "there is no model file", ["a folder"]),
    "a SavedModel": (saved_model, "there is no model file", [
        "found: a SavedModel", "model.path takes the folder", "save the model with tf_keras"]),
    "empty": (content("m.keras", b""), NO_MODEL, ["found: an empty file", "save the model with tf_keras"]),
    "empty, .h5": (content("m.h5", b""), NO_MODEL, ["found: an empty file"]),
    "text": (content("m.keras", b"not a model\n"), NO_MODEL, ["a damaged or another file"]),
    "random bytes": (content("m.h5", np.random.default_rng(0).bytes(5000)), NO_MODEL, ["a damaged or another file"]),
    "ONNX": (content("m.onnx", b"\x08\x07"), OTHER, ["ONNX", "the Keras model that it was made from"]),
    "TFLite": (content("m.keras", b"\x1c\0\0\0TFL3"), OTHER, ["TensorFlow Lite"]),
    "PyTorch": (content("m.pt", b"PK\x03\x04...."), OTHER, ["PyTorch"]),
    "pickle": (content("m.h5", b"\x80\x04\x95"), OTHER, ["a pickle"]),
    "pickle by its name": (content("m.pkl", b"(dp0"), OTHER, ["a pickle"]),
    "HDF5 signature alone": (content("m.h5", b"\x89HDF\r\n\x1a\n"), NO_MODEL, ["damaged HDF5"]),
    "zip signature alone": (content("m.keras", b"PK\x03\x04"), NO_MODEL, ["a damaged or another file"]),
    **{f"{share:.0%} of {suffix}": (part(suffix, share), NO_MODEL, ["damaged"])
       for suffix in SUFFIXES for share in (0.05, 0.3, 0.7, 0.99)},
    "zip of something else": (
        lambda _, folder: files.packed(folder / "m.keras", {"assets/x": b""}), NO_MODEL, ["an archive of assets/x"]),
    "no config": (archive(config=None), NO_MODEL, ["an archive with config.json"]),
    "no metadata": (archive(metadata=None), NO_MODEL, ["an archive with metadata.json"]),
    "no weights": (archive(weights=None), NO_MODEL, ["an archive with model.weights.h5"]),
    "config that is no JSON": (archive(config=b"{"), NO_MODEL, ["a damaged or another file"]),
    "config that is no text": (archive(config=b"\xff\xfe\x00"), NO_MODEL, ["a damaged or another file"]),
    "config of another type": (archive(config=b"[1]"), NO_MODEL, ["functional or sequential model", "a list"]),
    "config of nothing": (archive(config=b"{}"), NO_MODEL, ["functional or sequential model", "a dict"]),
    "config of a layer": (config(".keras", no_layers), NO_MODEL, ["found: a Dense"]),
    "config of a layer, .h5": (config(".h5", no_layers), NO_MODEL, ["found: a Dense"]),
    "config that is nested too deep": (config(".keras", nested_deep), NO_MODEL, ["nested too deep"]),
    "config that is no JSON, .h5": (attribute("model_config", "{"), NO_MODEL, ["a configuration in JSON"]),
    "config that is a number, .h5": (attribute("model_config", 3), NO_MODEL, ["no text"]),
    "config that is many texts, .h5": (attribute("model_config", ["{}", "{}"]), NO_MODEL, ["no text"]),
    "metadata that is no JSON": (archive(metadata=b"no"), NO_MODEL, ["a damaged or another file"]),
    "metadata of another type": (archive(metadata=b"3"), NO_MODEL, ["a damaged or another file"]),
    "Keras 4": (archive(metadata=json.dumps({"keras_version": "4.12.0"}).encode()), "is of another Keras",
                ["expected: Keras 2 (tf_keras) or Keras 3", "found: Keras 4.12.0", "with tf_keras"]),
    "Keras 4, .h5": (attribute("keras_version", "4.12.0"), "is of another Keras", ["found: Keras 4.12.0"]),
    "Keras 1, .h5": (attribute("keras_version", None), "is of another Keras", ["found: Keras 1"]),
    "weights alone": (weights_alone("m.h5"), "holds no whole model", ["weights alone", "model.load_weights('m.h5')"]),
    "weights alone, .weights.h5": (weights_alone("m.weights.h5"), "holds no whole model", ["weights alone"]),
    "weights that are no group, .h5": (weights(".h5", no_group), "holds no whole model", ["the layers alone"]),
    "HDF5 of something else": (lambda _, folder: h5py.File(folder / "m.h5", "w").close() or folder / "m.h5",
                               "holds no whole model", ["HDF5 of something else"]),
    "weights that are no HDF5": (archive(weights=b"no"), NO_MODEL, ["damaged HDF5"]),
    "a hole in the weights of .keras": (hole(".keras", 20_000), NO_MODEL, ["damaged"]),
    "a hole in the structure of .h5": (hole(".h5", 100), NO_MODEL, ["damaged HDF5"]),
    **{f"{name}, {suffix}": (make(suffix), what, words) for suffix in SUFFIXES for name, make, what, words in (
        ("one weight too few", lambda s: weights(s, taken), "", []),
        ("all weights gone", lambda s: weights(s, emptied), "holds no weights", ["found: none"]),
        ("a weight of another shape", lambda s: weights(s, replaced(lambda v: v[:-1])), LOAD, ["shape"]),
        ("other units than the weights", lambda s: config(s, wrong_units), LOAD, ["shape"]),
        ("an option that no layer has", lambda s: config(s, unknown_option), LOAD, ["colour"]),
        ("NaN", lambda s: weights(s, replaced(poisoned)), "holds weights that are no numbers",
         ["NaN or infinite values in ", ": 1 of 512", "this training diverged"]),
        ("float64", lambda s: weights(s, replaced(lambda v: v.astype("f8"))), "is not in float32", ["is float64"]),
        ("mixed precision", lambda s: config(s, float16), "is not in float32", ["the policy mixed_float16"]),
        ("wrong input shape", lambda s: model(s, lambda k: k.Flatten(), lambda k: k.Dense(3), shape=(5, 6, 1)), DATA,
         ["expected: an input of shape (6, 6, 1) and an output of 3 classes", "inputs [(5, 6, 1)], outputs [(3,)]",
          "name the data that it was trained on"]),
        ("flat inputs", lambda s: model(s, lambda k: k.Dense(3), shape=(36,)), DATA, ["inputs [(36,)]"]),
        ("inputs of any size", lambda s: model(
            s, lambda k: k.Conv2D(2, 3), lambda k: k.GlobalAveragePooling2D(), lambda k: k.Dense(3),
            shape=(None, None, 1)), DATA, ["inputs [(None, None, 1)]", "outputs [(3,)]"]),
        ("wrong number of classes", lambda s: model(s, lambda k: k.Flatten(), lambda k: k.Dense(4)), DATA,
         ["outputs [(4,)]"]),
        ("an answer per pixel", lambda s: model(s, lambda k: k.Conv2D(3, 1)), DATA, ["outputs [(6, 6, 3)]"]),
        ("two inputs", lambda s: two_ends(s, inputs=True), DATA, ["inputs [(6, 6, 1), (6, 6, 1)]"]),
        ("two outputs", lambda s: two_ends(s, inputs=False), DATA, ["outputs [(3,), (2,)]"]),
    )},
}  # fmt: skip


@pytest.mark.parametrize(("make", "what", "words"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_file_is_one_message_that_says_what_was_found_and_what_to_do(
    make: Make, what: str, words: list[str], good: Good, tmp_path: Path
) -> None:
    path = make(good, tmp_path)
    with pytest.raises(InputError) as refused:
        files.read(path)
    error = refused.value
    assert error.exit_code == 2
    assert what in error.what
    assert str(path) in error.what
    assert error.expected
    assert error.found
    assert error.todo
    assert "Traceback" not in str(error)
    assert len(str(error)) < 1200
    for word in words:
        assert word in str(error)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_full_disk_is_not_the_files_fault(
    suffix: str, good: Good, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(OSError, match="No space left"):
        scan(good.file("plain", suffix), tmp_path)


def test_file_that_must_not_be_read_is_the_users_to_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    path = tmp_path / "m.keras"
    path.touch()
    monkeypatch.setattr(Path, "open", forbidden)
    with pytest.raises(InputError, match=r"m\.keras cannot be read") as refused:
        files.read(path)
    assert (refused.value.found, refused.value.exit_code) == ("Permission denied", 2)
    assert "permissions" in refused.value.todo


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".hdf5", ".H5"])
def test_good_file_is_read_whatever_its_suffix(suffix: str, good: Good, tmp_path: Path) -> None:
    path = tmp_path / f"m{suffix}"
    path.write_bytes(good.file("plain", ".keras" if suffix == ".keras" else ".h5").read_bytes())
    found, notes = files.read(path)
    assert notes == ()
    assert np.array_equal(tiny.answers(found), tiny.answers(tiny.cnn()))


def test_input_of_any_batch_is_the_datas_shape(good: Good) -> None:
    other = classifier("samples", (7, 6, 1), (0.0, 1.0), ("a", "b", "c"))
    with pytest.raises(InputError, match="is not a model for this data"):
        files.read(good.file("plain", ".h5"), other)
