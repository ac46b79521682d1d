"""Sigmoids at the end, and one number for two classes, become logits; and the file is still what is proven."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.formats import keras_file
from pipeline.formats.model_file import load, proof, scan
from pipeline.legacy_keras import load as load_keras
from pipeline.predictor import Head, Input, Spec
from tests.pipeline.compress import tiny
from tests.pipeline.formats.model_file import files

BINARY = Spec(tiny.SPEC.inputs, (Head("classification", (2,), ("ham", "spam")),))
LABELS = Spec(tiny.SPEC.inputs, (Head("multilabel", (3,), ("a", "b", "c")),))
VALUE = Spec((Input("samples", (6, 6, 1), (0.0, 1.0)),), (Head("regression", (1,), (), "", (0.0,), (1.0,)),))
SAMPLES = tiny.SPLITS.validation.x


def _model(units: int, activation: str | None = None, *, apart: bool = False) -> Any:
    layers = load_keras().layers
    rows = [layers.Flatten(), layers.Dense(8, activation="relu", name="hidden")]
    rows.append(layers.Dense(units, activation=None if apart else activation, name="answer"))
    return tiny.sequential(*rows, *([layers.Activation(activation, name="end")] if apart else []))


def _read(model: Any, spec: Spec, folder: Path, suffix: str = ".keras") -> tuple[Any, tuple[str, ...], proof.Proof]:
    path = folder / f"model{suffix}"
    model.save(path, save_format="keras" if suffix == ".keras" else "h5")
    imported, notes = files.read(path, spec)
    keras_file.write(imported, spec, folder / "entry")
    (folder / "copy").mkdir()
    scanned = scan.scan(path, folder / "copy")
    return imported, notes, proof.prove(scanned, folder / "entry", np.asarray(SAMPLES), changed=bool(notes))


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    found: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return found


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("apart", [False, True], ids=["inside", "layer"])
def test_one_sigmoid_for_two_classes_becomes_two_logits_of_the_same_probability(
    apart: bool, suffix: str, tmp_path: Path
) -> None:
    model = _model(1, "sigmoid", apart=apart)
    imported, notes, proven = _read(model, BINARY, tmp_path, suffix)
    logits = imported.predict(SAMPLES, verbose=0)
    assert logits.shape == (20, 2)
    assert _softmax(logits)[:, 1:] == pytest.approx(model.predict(SAMPLES, verbose=0), abs=1e-6)
    assert (
        notes[0]
        == {
            False: "the sigmoid inside answer is taken off: its inputs are the logits",
            True: "the model ends in end: it is cut off, and its input is taken as the logits",
        }[apart]
    )
    assert notes[1].startswith("the model answers one number for two classes, spam where it is above 0")
    assert proven.weights == 4
    assert "the sigmoid of the logits is off by" in str(proven)


def test_one_logit_for_two_classes_becomes_two_with_no_bit_lost(tmp_path: Path) -> None:
    model = _model(1)
    imported, notes, proven = _read(model, BINARY, tmp_path)
    logits = imported.predict(SAMPLES, verbose=0)
    assert np.array_equal(logits[:, 1:] - logits[:, :1], model.predict(SAMPLES, verbose=0))
    assert len(notes) == 1
    assert (proven.weights, proven.difference) == (4, 0.0)
    assert "all equal" in str(proven)


def test_one_number_stays_one_where_it_is_a_value(tmp_path: Path) -> None:
    model = _model(1, "sigmoid")
    imported, notes, _ = _read(model, VALUE, tmp_path)
    assert notes == ()
    assert np.array_equal(imported.predict(SAMPLES, verbose=0), model.predict(SAMPLES, verbose=0))


@pytest.mark.parametrize("apart", [False, True], ids=["inside", "layer"])
def test_sigmoids_of_labels_are_taken_off(apart: bool, tmp_path: Path) -> None:
    model = _model(3, "sigmoid", apart=apart)
    imported, notes, proven = _read(model, LABELS, tmp_path)
    logits = imported.predict(SAMPLES, verbose=0)
    assert 1 / (1 + np.exp(-logits)) == pytest.approx(model.predict(SAMPLES, verbose=0), abs=1e-6)
    assert logits.max() > 1
    assert len(notes) == 1
    assert "the sigmoid of the logits is off by" in str(proven)


def test_softmax_over_labels_is_no_sigmoid_and_stays(tmp_path: Path) -> None:
    _, notes, _ = _read(_model(3, "softmax"), LABELS, tmp_path)
    assert notes == ()


def test_number_for_three_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a model for this data"):
        _read(_model(1, "sigmoid"), tiny.SPEC, tmp_path)


@pytest.mark.parametrize(
    ("spec", "answers"),
    [(BINARY, np.float32([[0.2], [0.9]]) * np.float32([[-0.5, 0.5]])), (LABELS, np.float32([[0.1, 0.9, 0.4]]))],
    ids=["binary", "labels"],
)
def test_probabilities_that_no_function_at_the_end_makes_are_refused(spec: Spec, answers: np.ndarray) -> None:
    with pytest.raises(InputError) as caught:
        load.require_logits(Path("x.keras"), answers, spec.head)
    assert caught.value.expected == "logits, or a sigmoid as its last layer"
    load.require_logits(Path("x.keras"), answers * 3, spec.head)
