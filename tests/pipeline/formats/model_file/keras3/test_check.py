"""What a configuration of Keras 3 may name, looked at before any Keras sees it. No Keras is imported here."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.formats.model_file.keras3.check import findings
from pipeline.formats.model_file.scan import scan
from tests.pipeline.formats.model_file.files import packed

Config = dict[str, Any]
Change = Callable[[Config], None]


def _layer(kind: str, name: str, module: str = "keras.layers", **options: Any) -> Config:
    policy = {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "float32"}, "registered_name": None}
    config = {"name": name, "trainable": True, "dtype": policy, **options}
    return {"module": module, "class_name": kind, "config": config, "registered_name": None, "name": name}


def _model(*layers: Config) -> Config:
    entry = _layer("InputLayer", "x", batch_shape=[None, 4], sparse=False, ragged=False, optional=False)
    found, before = [{**entry, "inbound_nodes": []}], "x"
    for layer in layers:
        tensor = {"shape": [None, 4], "dtype": "float32", "keras_history": [before, 0, 0]}
        call = {"args": [{"class_name": "__keras_tensor__", "config": tensor}], "kwargs": {}}
        found.append({**layer, "inbound_nodes": [call]})
        before = layer["name"]
    config = {"name": "m", "trainable": True, "layers": found, "input_layers": ["x", 0, 0]}
    return {
        "module": "keras.src.models.functional", "class_name": "Functional", "registered_name": "Functional",
        "config": {**config, "output_layers": [before, 0, 0]},
    }  # fmt: skip


def _dense(**options: Any) -> Config:
    return _layer("Dense", "d", **{"units": 3, "activation": "relu", **options})


def _file(config: Config, folder: Path) -> Path:
    weights = folder / "weights.h5"
    with h5py.File(weights, "w") as file:
        file["layers/dense/vars/0"] = np.ones((4, 3), np.float32)
        file["layers/dense/vars/1"] = np.ones(3, np.float32)
    contents = {
        "metadata.json": json.dumps({"keras_version": "3.15.1"}).encode(), "config.json": json.dumps(config).encode(),
        "model.weights.h5": weights.read_bytes(),
    }  # fmt: skip
    return packed(folder / "m.keras", contents)


def _function(name: str, module: str) -> Config:
    return {"module": module, "class_name": "function", "config": name, "registered_name": "function"}


def _value(kind: str, **options: Any) -> Config:
    return {"class_name": f"__{kind}__", "config": options}


def _entry(config: Config) -> Config:
    entry: Config = config["config"]["layers"][1]
    return entry


def _options(**options: Any) -> Change:
    return lambda config: _entry(config)["config"].update(options)


def _entries(**entries: Any) -> Change:
    return lambda config: _entry(config).update(entries)


def _args(*args: Any) -> Change:
    return lambda config: _entry(config)["inbound_nodes"][0].update(args=list(args))


def test_good_configuration_has_no_findings(tmp_path: Path) -> None:
    config = _model(_dense())
    assert findings(config) == []
    (tmp_path / "copy").mkdir()
    scanned = scan(_file(config, tmp_path), tmp_path / "copy")
    assert (scanned.keras, scanned.custom) == (3, ())


HARM: dict[str, tuple[Change, str]] = {
    "a lambda": (_options(activation={"class_name": "__lambda__", "config": {"value": "x"}}), "a lambda"),
    "a Lambda layer": (_entries(class_name="Lambda"), "a Lambda (layer d)"),
    "a function of Python's": (_options(activation=_function("getoutput", "subprocess")), "a function"),
    "a function called as one of Keras'": (_options(activation=_function("getoutput", "builtins")), "the activation"),
    "a function by another key": (_options(units=_function("relu", "builtins")), "a function"),
    "an activation by name": (_options(activation="os>system"), "the activation 'os>system'"),
    "an initializer by name": (_options(kernel_initializer="mine"), "the initializer 'mine'"),
    "a class of a module": (_entries(module="subprocess", class_name="Popen"), "Popen (module subprocess)"),
    "a registered class": (_entries(registered_name="mine>Dense"), "mine>Dense (module keras.layers)"),
    "a class of the file's author": (_entries(module="mine", class_name="Mine", registered_name="p>Mine"), "p>Mine"),
    "a class of no module": (_entries(module=None, class_name="Mine", registered_name="p>Mine"), "p>Mine"),
    "a module that is no text": (_entries(module=["os"]), "a class_name or module that is no name"),
    "a class that is no text": (_entries(class_name=["Dense"]), "a class_name or module that is no name"),
    "a module beside Keras": (_entries(module="keras_hub.layers"), "Dense (module keras_hub.layers)"),
    "a model of TensorFlow": (_entries(class_name="TFSMLayer"), "a TFSMLayer"),
    "a type by its name": (
        _args({"class_name": "__typespec__", "spec_name": "x", "module": "os", "config": [], "registered_name": None}),
        "a typespec",
    ),
    "a type without a class": (_args({"spec_name": "x", "module": "os"}), "an object without a class"),
    "an object as an argument": (_args(_dense()), "a Dense where Keras writes none"),
    "a tensor that holds an object": (
        _args(_value("tensor", value=_dense(), dtype="float32")), "a tensor that is none"),
    "a slice that holds an object": (
        _args(_value("slice", start=_dense(), stop=1, step=1)), "a slice that is none"),
    "a tensor of a type that is none": (
        _args(_value("tensor", value=1, dtype=["float32"])), "a tensor that is none"),
    "a tensor of a layer that is none": (
        _args(_value("keras_tensor", shape=[], dtype="float32", keras_history=[{}, 0, 0])),
        "a keras_tensor that is none",
    ),
    "a function that is none": (
        _options(activation={**_function("", "builtins"), "config": ["relu"]}), "the activation ['relu']"),
    "an optimizer": (_options(kernel_regularizer=_layer("Adam", "a", "keras.optimizers")), "the regularizer Adam"),
}  # fmt: skip


@pytest.mark.parametrize("allowed", [False, True])
@pytest.mark.parametrize("name", HARM)
def test_code_is_refused_whatever_is_allowed(name: str, allowed: bool, tmp_path: Path) -> None:
    change, words = HARM[name]
    config = _model(_dense())
    change(config)
    (tmp_path / "copy").mkdir()
    with pytest.raises(InputError) as refused:
        scan(_file(config, tmp_path), tmp_path / "copy", allow_custom_code=allowed)
    assert words in refused.value.found
    if "cannot become" not in refused.value.what:
        assert "holds code of its author's" in refused.value.what
        assert "what was written for Keras 3 cannot run in tf_keras" in refused.value.todo


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (_options(vocabulary="/etc/passwd"), "reads files outside of it"),
        (_options(dtype="float16"), "is not in float32"),
        (_options(dtype={"module": "keras", "class_name": "DTypePolicy", "config": {"name": "mixed_float16"}}),
         "is not in float32"),
        (_options(dtype={"module": "keras", "class_name": "QuantizedDTypePolicy", "config": {"name": "int8"}}),
         "is not in float32"),
    ],
)  # fmt: skip
def test_files_outside_and_other_precisions_are_refused(change: Change, what: str, tmp_path: Path) -> None:
    config = _model(_dense())
    change(config)
    (tmp_path / "copy").mkdir()
    with pytest.raises(InputError, match=what):
        scan(_file(config, tmp_path), tmp_path / "copy", allow_custom_code=True)


def test_all_that_has_no_counterpart_is_named_in_one_message(tmp_path: Path) -> None:
    operation = {"module": "keras.src.ops.numpy", "class_name": "Histogram", "config": {"name": "h"}, "name": "h"}
    config = _model(
        _dense(lora_rank=4), _layer("RMSNormalization", "rms"), operation,
        _layer("LayerNormalization", "norm", rms_scaling=True), _layer("LSTM", "row", recurrent_activation="hard_silu"),
        _layer("BatchNormalization", "batch", "keras.src.layers.normalization.batch_normalization"),
        _layer("Conv2D", "conv", activation="squareplus"), _layer("GRU", "state", stateful=True),
        _layer("IntegerLookup", "table", vocabulary=None),
        _layer("Dense", "list", kernel_initializer=_layer("STFT", "s")),
    )  # fmt: skip
    (tmp_path / "copy").mkdir()
    with pytest.raises(InputError, match="cannot become one of tf_keras") as refused:
        scan(_file(config, tmp_path), tmp_path / "copy")
    for words in (
        "d: Dense with lora_rank=4", "rms: a RMSNormalization (tf_keras has none)", "h: the operation Histogram",
        "norm: LayerNormalization with rms_scaling=True", "row: the activation hard_silu inside a LSTM",
        "batch: a BatchNormalization", "conv: the activation squareplus", "state: GRU with stateful=True",
        "table: IntegerLookup without its vocabulary", "the initializer STFT",
    ):  # fmt: skip
        assert words in refused.value.found
    assert "docs/keras3.md" in refused.value.expected


def test_findings_change_nothing() -> None:
    config = _model(_dense(lora_rank=4))
    before = copy.deepcopy(config)
    findings(config)
    assert config == before
