"""Whole models of Keras 3, in both formats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import InputError, RunError
from pipeline.formats import keras_file
from pipeline.formats.model_file import importing
from pipeline.formats.model_file.keras3 import agreement
from pipeline.predictor import classifier
from tests.pipeline.formats.model_file.keras3.conftest import Keras3
from tests.pipeline.formats.model_file.keras3.models import MODELS

TRANSLATED = sorted(set(MODELS) - {"shared_by_two"})

# with operations, which Keras 3 writes there so that it cannot read them itself
NO_HDF5 = ("activations", "masked", "open_sides", "operations")


def _agreed(keras_3: Keras3, name: str, suffix: str) -> tuple[Any, agreement.Agreement]:
    model = keras_3.translated(name, suffix)
    return model, agreement.require_equal(Path(name), model, keras_3.made.references[name])


@pytest.mark.parametrize("name", TRANSLATED)
def test_model_answers_as_in_keras_3(name: str, keras_3: Keras3) -> None:
    assert _agreed(keras_3, name, ".keras")[1].difference <= 2e-6


@pytest.mark.parametrize("name", sorted(set(TRANSLATED) - set(NO_HDF5)))
def test_model_from_hdf5_answers_as_in_keras_3(name: str, keras_3: Keras3) -> None:
    assert _agreed(keras_3, name, ".h5")[1].difference <= 2e-6


@pytest.mark.parametrize("name", NO_HDF5)
def test_operations_in_hdf5_are_refused(name: str, keras_3: Keras3) -> None:
    with pytest.raises(InputError, match="cannot become one of tf_keras") as refused:
        keras_3.translated(name, ".h5")
    assert "an operation in an .h5, which Keras 3 itself cannot read again" in refused.value.found


@pytest.mark.parametrize("name", ["activations", "operations", "shared", "masked", "ends"])
def test_translated_model_is_stored_and_read_again(name: str, keras_3: Keras3, tmp_path: Path) -> None:
    model = keras_3.translated(name, ".keras")
    keras_file.write(model, classifier("x", (6,), (0.0, 1.0), ("a", "b")), tmp_path)
    again, _ = keras_file.read(tmp_path)
    assert agreement.require_equal(Path(name), again, keras_3.made.references[name]).difference <= 2e-6


def test_names_and_order_of_inputs_and_outputs_stay(keras_3: Keras3) -> None:
    model, _ = _agreed(keras_3, "ends", ".keras")
    assert model.input_names == ["ant", "zebra"]
    assert sorted(model.output) == ["no", "yes"]


def test_layers_and_models_that_are_called_again_stay_one(keras_3: Keras3) -> None:
    model, found = _agreed(keras_3, "shared", ".keras")
    assert len(model.weights) == found.weights == 8
    assert len(model.get_layer("again").inbound_nodes) == 2


def test_layer_of_two_models_is_refused(keras_3: Keras3) -> None:
    with pytest.raises(InputError, match="cannot become one of tf_keras") as refused:
        keras_3.translated("shared_by_two", ".keras")
    assert "a layer of two models at once" in refused.value.found


def test_frozen_layers_stay_frozen(keras_3: Keras3) -> None:
    model, _ = _agreed(keras_3, "frozen", ".keras")
    assert len(model.trainable_weights) == 2
    assert len(model.weights) == 8
    assert not model.get_layer("base").trainable


def test_report_says_what_was_proven(keras_3: Keras3) -> None:
    model, found = _agreed(keras_3, "sequential", ".keras")
    assert str(found).startswith("Keras 3.")
    said = f" -> tf_keras: {found.layers} layers translated, {len(model.weights)} weights equal, largest difference on "
    assert said in str(found)
    assert "random inputs (batches of 1 and 7)" in str(found)


@pytest.mark.parametrize("name", ["sequential", "masked", "shared"])
def test_weight_that_differs_a_little_is_found(name: str, keras_3: Keras3) -> None:
    model = keras_3.translated(name, ".keras")
    weight = model.trainable_weights[-2]
    weight.assign(weight.numpy() * (1 + 1e-3))
    with pytest.raises(RunError, match="does not answer in tf_keras as in Keras 3") as refused:
        agreement.require_equal(Path(name), model, keras_3.made.references[name])
    assert "a difference of " in refused.value.found


def test_file_is_brought_in_and_held_to_keras_3_in_a_process_of_its_own(keras_3: Keras3, tmp_path: Path) -> None:
    spec, samples = (
        classifier("x", (6,), (0.0, 1.0), ("a", "b", "c")),
        np.random.default_rng(0).random((16, 6), np.float32),
    )
    found = importing.bring_in(keras_3.folder / "sequential.keras", spec, samples, tmp_path / "entry", "import")
    cut, agreed, proven = found.notes
    assert cut.startswith("the softmax inside ")
    assert " -> tf_keras: " in agreed
    assert proven.startswith("10 of 10 weights equal the file's, read by h5py; answers to 16 validation samples, ")
    assert f"the file's in {agreed.partition(' -> ')[0]}: the softmax of the logits is off by " in proven


def test_difference_is_relative_to_each_sample() -> None:
    wanted = np.array([[1000.0, 1.0], [0.01, 0.0]], np.float32)
    assert agreement.difference(wanted, wanted) == 0
    assert agreement.difference(wanted + np.array([[0.001, 0], [0, 0]]), wanted) == pytest.approx(1e-6, rel=0.1)
    assert agreement.difference(wanted + np.array([[0, 0], [0, 0.001]]), wanted) == pytest.approx(0.1, rel=0.01)
    assert agreement.difference(wanted * np.nan, wanted) == float("inf")
    infinite = np.array([[np.inf, 1.0], [np.nan, 0.0]], np.float32)
    assert agreement.difference(infinite, infinite) == 0
    assert agreement.difference(np.nan_to_num(infinite), infinite) == float("inf")
