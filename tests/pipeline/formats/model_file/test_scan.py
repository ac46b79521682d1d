"""What a scan reads, and says, of a file: one copy, held to its hash, in printable words; and what passes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tensorflow as tf

from pipeline.errors import InputError, RunError
from pipeline.files import sha256
from pipeline.formats.model_file import importing, load
from pipeline.legacy_keras import load as load_keras
from pipeline.stages import distill
from tests.pipeline.compress import tiny
from tests.pipeline.formats.model_file import files
from tests.pipeline.formats.model_file.conftest import Good, saved
from tests.pipeline.formats.model_file.files import dense, function
from tests.pipeline.formats.model_file.test_hostile import CODE, PLANTED, _object, called, config

NO_NAMES: dict[str, files.Change] = {
    "module": lambda c: dense(c).update(module=["x"]),
    "registered name": lambda c: dense(c).update(registered_name={"a": 1}),
    "function": called("TFOpLambda", 1.0, {}, function=["x"]),
    "options": lambda c: dense(c)["config"].update(activation=function("f") | {"module": "builtins", "config": ["x"]}),
    "policy": lambda c: dense(c)["config"].update(dtype=_object("Policy", config={"name": {"a": []}})),
    "class of the root": lambda c: c.update(class_name={"a": 1}),
}


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("change", NO_NAMES.values(), ids=NO_NAMES.keys())
def test_value_that_is_no_name_is_refused_as_any_other(
    change: files.Change, suffix: str, good: Good, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=CODE):
        files.scanned(config(suffix, change)(good, tmp_path), tmp_path)


def test_nothing_of_a_file_reaches_the_terminal_unescaped(good: Good, tmp_path: Path) -> None:
    name = "\x1b[2J\x1b]0;owned\x07x\nverdict: pass" + "y" * 500
    path = config(".keras", lambda c: dense(c).update(class_name=name))(good, tmp_path)
    (tmp_path / "copy").mkdir()
    with pytest.raises(InputError, match=CODE) as refused:
        importing.look_through(path, tmp_path / "copy", allow_custom_code=False)
    assert "\\x1b[2J" in refused.value.found
    assert refused.value.found.isprintable()
    assert len(refused.value.found) < 200
    message = "a\x1b[2Jb\n" * 500
    with pytest.raises(InputError) as refused, importing._printable():
        raise InputError("x", found=message)
    assert refused.value.found.isprintable()
    assert len(refused.value.found) == 1000


def test_file_that_changed_since_the_run_began_is_not_read(good: Good, tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    shutil.copyfile(good.file("lambda", ".keras"), path)
    digest = sha256(good.file("plain", ".keras"))
    (tmp_path / "copy").mkdir()
    with pytest.raises(RunError, match="changed while the run was going on") as refused:
        importing.look_through(path, tmp_path / "copy", allow_custom_code=True, digest=digest)
    assert refused.value.todo.startswith("run it again")
    assert importing.look_through(path, tmp_path / "copy", allow_custom_code=True, digest=sha256(path)).custom


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_only_the_copy_is_read_once_it_was_hashed(suffix: str, good: Good, tmp_path: Path) -> None:
    path = tmp_path / f"m{suffix}"
    shutil.copyfile(good.file("plain", suffix), path)
    scanned = files.scanned(path, tmp_path)
    path.unlink()
    assert load.logits(scanned, tiny.SPEC)[0].count_params() > 0


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_training_of_a_model_inside_is_taken_out_of_the_copy(suffix: str, good: Good, tmp_path: Path) -> None:
    inner = PLANTED["training inside"] | {"name": "s", "inbound_nodes": []}
    path = config(suffix, lambda c: c["config"]["layers"].append(inner))(good, tmp_path)
    scanned = files.scanned(path, tmp_path)
    assert b"planted" in path.read_bytes()
    if suffix == ".keras":
        left = files.members(scanned.model)["config.json"].decode()
    else:
        with h5py.File(scanned.model) as file:
            left = str(file.attrs["model_config"])
    assert "Sequential" in left
    assert "planted" not in left


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("name", ["optimizer", "metrics"])
def test_layer_named_as_a_part_of_training_has_weights_like_any_other(name: str, suffix: str, tmp_path: Path) -> None:
    layers = load_keras().layers
    model = tiny.sequential(layers.Flatten(), layers.Dense(3, name=name))
    files.scanned(saved(model, tmp_path / f"good{suffix}"), tmp_path)
    values = model.get_weights()
    values[0][0, 0] = np.nan
    model.set_weights(values)
    shutil.rmtree(tmp_path / "copy")
    with pytest.raises(InputError, match="weights that are no numbers"):
        files.scanned(saved(model, tmp_path / f"bad{suffix}"), tmp_path)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("dtype", ["half", "double", "bfloat16", "complex64"])
def test_any_other_precision_is_refused_as_one(dtype: str, suffix: str, good: Good, tmp_path: Path) -> None:
    path = config(suffix, lambda c: dense(c)["config"].update(dtype=dtype))(good, tmp_path)
    with pytest.raises(InputError, match="is not in float32") as refused:
        files.scanned(path, tmp_path)
    assert refused.value.found == dtype


def test_code_of_a_further_teacher_is_refused_with_what_helps(good: Good, tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    with pytest.raises(InputError, match=CODE) as refused:
        importing.look_through(
            good.file("lambda", ".h5"), tmp_path / "copy", allow_custom_code=False, todo=distill._NO_CODE
        )
    assert refused.value.todo == distill._NO_CODE
    assert "allow_custom_code" not in refused.value.todo


def _operators(x: Any) -> Any:
    scaled = (x / 255.0 - 0.5) * 2.0
    parts = [scaled**2, tf.abs(scaled), tf.exp(-scaled), tf.nn.relu(scaled + x), tf.cast(x > 3.0, "float32")]
    return tf.concat(parts, -1)[:, 1:, :, :2]


def _rows(x: Any) -> Any:
    return load_keras().layers.Reshape((6, 6))(x)


def _zoo() -> dict[str, Any]:
    keras = load_keras()
    k = keras.layers
    block = keras.Sequential([keras.Input((6, 6, 1)), k.Conv2D(2, 3), k.BatchNormalization()])
    return {
        "operators": _operators,
        "convolutions": lambda x: k.PReLU()(k.SeparableConv2D(3, 3, padding="same")(k.Conv2D(
            4, 3, activation="swish", kernel_regularizer="l2", kernel_constraint=keras.constraints.MaxNorm(2),
            bias_initializer=keras.initializers.Constant(0.1))(x))),
        "nested": lambda x: block(k.Rescaling(1 / 255)(k.Normalization(mean=1.0, variance=2.0)(x))),
        "recurrent": lambda x: k.Bidirectional(k.LSTM(2), backward_layer=k.GRU(2, go_backwards=True))(_rows(x)),
        "cells": lambda x: k.RNN([k.LSTMCell(2), k.GRUCell(3)])(_rows(x)),
        "each": lambda x: k.TimeDistributed(k.Dense(3, activation=tf.nn.relu))(_rows(x)),
        "attention": lambda x: k.LayerNormalization()(k.MultiHeadAttention(2, 2)(_rows(x), _rows(x))),
        "embedding": lambda x: k.Embedding(20, 2)(k.Reshape((36,))(x)),
    }  # fmt: skip


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("name", _zoo())
def test_layers_and_operators_of_keras_pass_and_answer_as_before(name: str, suffix: str, tmp_path: Path) -> None:
    keras = load_keras()
    x = keras.Input((6, 6, 1))
    model = keras.Model(x, keras.layers.Dense(3)(keras.layers.Flatten()(_zoo()[name](x))))
    model.compile("adam", "mse")
    found, _ = files.read(saved(model, tmp_path / f"m{suffix}"))
    assert np.allclose(tiny.answers(found), tiny.answers(model), atol=1e-6)


@pytest.mark.parametrize("inside", [False, True])
def test_what_a_file_says_of_its_training_is_not_loaded(inside: bool, good: Good, marker: Path, tmp_path: Path) -> None:
    def change(found: dict[str, Any]) -> None:
        (dense(found) if inside else found)["compile_config"] = {"loss": function("f"), "optimizer": function("f")}

    path = files.configured(good.file("plain", ".keras"), tmp_path / "m.keras", change)
    found, _ = files.read(path)
    assert found.count_params() > 0
    assert not marker.exists()


def test_file_in_which_hdf5_goes_round_for_ever_is_refused_after_a_while(
    good: Good, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = bytearray(good.file("plain", ".h5").read_bytes())
    heap = whole.index(b"GCOL")  # the texts of attributes
    whole[heap + 24 : heap + 32] = (2**64 - 16).to_bytes(8, "little")  # the first is as long as to begin where it ends
    path = tmp_path / "m.h5"
    path.write_bytes(whole)
    (tmp_path / "copy").mkdir()
    monkeypatch.setattr(importing, "SCAN_S", 8.0)
    with pytest.raises(InputError, match="cannot be read") as refused:
        importing.look_through(path, tmp_path / "copy", allow_custom_code=False)
    assert "it was not done after 8 s" in refused.value.found


def test_class_that_is_not_there_is_named(good: Good, tmp_path: Path) -> None:
    def change(found: dict[str, Any]) -> None:
        dense(found).update({"module": "not_installed.layers", "class_name": "Twice"})

    path = files.configured(good.file("plain", ".keras"), tmp_path / "m.keras", change)
    with pytest.raises(InputError, match="names code that cannot be loaded") as refused:
        files.read(path, allow_custom_code=True)
    assert refused.value.expected == "everything that it names: Twice (module not_installed.layers)"
    assert "PYTHONPATH" in refused.value.todo
