"""Whole models of Keras 3, in both formats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import InputError, RunError
from pipeline.formats import keras_file
from pipeline.formats.model_file import importing, load
from pipeline.formats.model_file.keras3 import agreement
from pipeline.formats.model_file.keras3.reference import Reference
from pipeline.legacy_keras import load as load_keras
from pipeline.predictor import Head, Input, Spec, classifier
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
    cut, agreed, proven, written = found.notes
    assert cut.startswith("the softmax inside ")
    assert "inner (2 layers)" in written
    assert " -> tf_keras: " in agreed
    assert proven.startswith("10 of 10 weights equal the file's, read by h5py; answers to 16 validation samples, ")
    assert f"the file's in {agreed.partition(' -> ')[0]}: the softmax of the logits is off by " in proven


def test_samples_are_asked_in_batches_of_the_only_size_that_a_model_takes(keras_3: Keras3, tmp_path: Path) -> None:
    spec = classifier("x", (5, 2), (0.0, 1.0), ("a", "b", "c"))
    samples = np.random.default_rng(0).normal(0, 9, (10, 5, 2)).astype(np.float32)
    found = importing.bring_in(keras_3.folder / "fixed_batch.keras", spec, samples, tmp_path / "entry", "import")
    agreed, proven = found.notes
    assert "random inputs (batches of 4)" in agreed
    assert "answers to 10 validation samples" in proven
    assert found.answers[""].shape == (10, 3)


def test_samples_that_do_not_fit_are_refused_as_those_of_another_model(keras_3: Keras3, tmp_path: Path) -> None:
    spec, samples = classifier("x", (5, 3), (0.0, 1.0), ("a", "b", "c")), np.zeros((8, 5, 3), np.float32)
    with pytest.raises(InputError, match="is not a model for this data") as refused:
        importing.bring_in(keras_3.folder / "fixed_batch.keras", spec, samples, tmp_path / "entry", "import")
    assert refused.value.expected.startswith("an input of shape (5, 3)")


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_output_that_ends_in_other_layers_keeps_its_name(suffix: str, keras_3: Keras3) -> None:
    model, _ = _agreed(keras_3, "composed_ends", suffix)
    assert model.output_names == ["digit", "parity"]
    heads = (Head("regression", (2,), name="parity"), Head("regression", (3,), name="digit"))
    spec = Spec((Input("x", (4,), (0.0, 1.0)),), heads)
    assert load.arranged(Path("m"), model, spec).output_names == ["parity", "digit"]


def test_difference_is_relative_to_the_largest_answer_of_an_output() -> None:
    wanted = np.array([[1000.0, 1.0], [0.01, 0.0]], np.float32)
    assert agreement.difference(wanted, wanted) == 0
    for off in ([[0.001, 0], [0, 0]], [[0, 0], [0, 0.001]]):
        assert agreement.difference(wanted + np.array(off), wanted) == pytest.approx(1e-6, rel=0.1)
    assert agreement.difference(wanted[1:] + np.array([[0.001, 0]]), wanted[1:]) == pytest.approx(0.1, rel=0.01)
    assert agreement.difference(wanted * np.nan, wanted) == float("inf")
    infinite = np.array([[np.inf, 1.0], [np.nan, 0.0]], np.float32)
    assert agreement.difference(infinite, infinite) == 0
    assert agreement.difference(np.nan_to_num(infinite), infinite) == float("inf")


def test_rounding_of_an_answer_near_zero_is_no_wrong_translation() -> None:
    keras = load_keras()
    raw = keras.Input((2,))
    model = keras.Model(raw, keras.layers.Dense(1)(raw))
    model.set_weights([np.ones((2, 1)), np.zeros(1)])
    inputs = (np.array([[3.0, -3.0]], np.float32),), (np.array([[2.0, 1.0], [1.0, -1.0]], np.float32),)
    outputs = tuple((batch.sum(axis=1, keepdims=True) + 1e-7,) for (batch,) in inputs)
    reference = Reference(inputs, outputs, (), "3.0.0")
    assert agreement.require_equal(Path("m"), model, reference).difference < 1e-6
