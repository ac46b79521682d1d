"""A good model file becomes a model that ends in logits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.formats import endings
from pipeline.formats.model_file import load
from pipeline.legacy_keras import load as load_keras
from tests.pipeline.compress import tiny
from tests.pipeline.formats.model_file import files


def _row(*more: Any) -> list[Any]:
    layers = load_keras().layers
    return [layers.Flatten(name="flat"), layers.Dense(4, activation="relu", name="hidden"), *more]


def _saved(model: Any, folder: Path, suffix: str = ".keras") -> Path:
    path = folder / f"model{suffix}"
    model.save(path, save_format="keras" if suffix == ".keras" else "h5")
    return path


def _dense(activation: str | None = None, name: str = "logits") -> Any:
    return load_keras().layers.Dense(3, activation=activation, name=name)


def test_model_that_ends_in_logits_is_taken_as_it_is(tmp_path: Path) -> None:
    model = tiny.sequential(*_row(_dense()))
    found, notes = files.read(_saved(model, tmp_path), tiny.SPEC)
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
    found, notes = files.read(_saved(model, tmp_path), tiny.SPEC)
    assert notes == (note,)
    logits = tiny.answers(found)
    assert not np.allclose(logits.sum(axis=1), 1)
    powers = np.exp(logits)
    assert np.allclose(powers / powers.sum(axis=1, keepdims=True), tiny.answers(model), atol=1e-6)
    assert all(len(layer._inbound_nodes) == 1 for layer in found.layers)


def test_softmax_that_is_not_at_the_end_stays(tmp_path: Path) -> None:
    layers = load_keras().layers
    model = tiny.sequential(*_row(layers.Softmax(name="attention"), _dense()))
    found, notes = files.read(_saved(model, tmp_path), tiny.SPEC)
    assert notes == ()
    assert np.array_equal(tiny.answers(found), tiny.answers(model))


@pytest.mark.parametrize("answers", [[[0.2, 0.8]], [[0.0, 1.0]]])
def test_answers_that_are_probabilities_are_refused(answers: list[list[float]]) -> None:
    with pytest.raises(InputError, match="answers probabilities") as refused:
        load.require_logits(Path("x.keras"), np.array(answers), tiny.SPEC.head)
    assert "without its last function" in refused.value.todo
    load.require_logits(Path("x.keras"), np.array([[-0.1, 0.4]]), tiny.SPEC.head)


def test_small_logits_of_a_linear_layer_are_no_probabilities() -> None:
    small = np.array([[0.1, 0.4], [0.3, 0.7]])
    load.require_logits(Path("x.keras"), small, tiny.SPEC.head, linear=True)
    layers = load_keras().layers
    ends = [_dense(), _dense(activation="sigmoid")]
    found = [endings.linear(tiny.sequential(layers.Flatten(), end).outputs[0]) for end in ends]
    assert found == [True, False]


def test_answers_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(InputError, match="answers what is no number") as refused:
        load.require_logits(Path("x.keras"), np.array([[1.0, np.nan], [0.0, 2.0]]), tiny.SPEC.head)
    assert refused.value.found == "NaN or infinite answers to 1 of 2 samples"
