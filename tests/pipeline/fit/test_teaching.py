from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import models
from pipeline.compress.distillation import Teaching, taught
from pipeline.fit.losses import cross_entropy
from pipeline.legacy_keras import load as load_keras
from tests.pipeline.fit.test_loop import SPEC, SPLITS, _cnn, _fit, _killed_after, _model, _same

PLAIN = {"early_stopping": None, "schedule": {"name": "constant"}, "epochs": 3}
X, Y = SPLITS.train.x[:8], SPLITS.train.y[:8]


def _teacher(seed: int = 9) -> Any:
    return models.build(models.cnn.Config(filters=(4,), dropout=0.5), SPEC, seed)


def _penalized() -> Any:
    """A linear student with an L2 penalty, whose gradients can be had by hand."""
    keras = load_keras()
    keras.utils.set_random_seed(2)
    layers = keras.layers
    inputs = keras.Input((4, 4, 1), name="image")
    logits = layers.Dense(3, kernel_regularizer=keras.regularizers.L2(0.05), name="logits")(layers.Flatten()(inputs))
    model = keras.Model(inputs, logits)
    model.compile(
        optimizer=keras.optimizers.SGD(1.0),
        loss=cross_entropy(0.0),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
    )
    return model


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    found: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return found


@pytest.mark.parametrize(("weight", "temperature"), [(0.3, 2.0), (1.0, 4.0), (0.9, 1.0)])
def test_one_step_follows_both_losses_and_the_penalty(weight: float, temperature: float) -> None:
    teachers, model = [_teacher(1), _teacher(2)], _penalized()
    kernel, bias = (array.astype(np.float64) for array in model.get_weights())
    flat = X.reshape(len(X), -1).astype(np.float64)
    logits = flat @ kernel + bias
    softened = [_softmax(teacher(X, training=False).numpy() / temperature) for teacher in teachers]
    hard = _softmax(logits) - np.eye(3)[Y]
    soft = temperature * (_softmax(logits / temperature) - np.mean(softened, axis=0))
    by_logits = ((1 - weight) * hard + weight * soft) / len(X)
    with taught(model, Teaching(teachers, temperature, weight), SPEC.head):
        model.train_on_batch(X, Y)
    found_kernel, found_bias = model.get_weights()
    # the rate is 1, so a step is the gradient; the penalty's is 2 * 0.05 * kernel, whatever the weight
    assert kernel - found_kernel == pytest.approx(flat.T @ by_logits + 0.1 * kernel, abs=1e-5)
    assert bias - found_bias == pytest.approx(by_logits.sum(axis=0), abs=1e-5)


def test_evaluation_shows_the_loss_of_the_labels_when_there_is_a_teacher(tmp_path: Path) -> None:
    model = _model()
    history = _fit(model, tmp_path, teaching=Teaching([_teacher()], 4.0, 0.9), config=PLAIN)
    logits = model.predict(SPLITS.validation.x, verbose=0)
    assert history.epochs["val_loss"][-1] == pytest.approx(
        float(cross_entropy(0.0)(SPLITS.validation.y, logits)), rel=1e-5
    )


def test_training_loss_is_that_of_the_labels_when_there_is_a_teacher(tmp_path: Path) -> None:
    # with a rate of almost nothing the model stays as it is, so all losses are those of one model
    still = {**PLAIN, "optimizer": {"name": "sgd", "learning_rate": 1e-12}, "epochs": 1}
    alone = _fit(_model(), tmp_path / "alone", config=still)
    with_teacher = _fit(_model(), tmp_path / "taught", teaching=Teaching([_teacher()], 4.0, 0.9), config=still)
    assert with_teacher.epochs["loss"] == pytest.approx(alone.epochs["loss"], rel=1e-4)
    assert with_teacher.epochs["accuracy"] == alone.epochs["accuracy"]


def test_student_follows_its_teacher_rather_than_the_labels(tmp_path: Path) -> None:
    teacher, alone, student = _teacher(), _model(), _model()
    config = {**PLAIN, "epochs": 20}
    _fit(alone, tmp_path / "alone", config=config)
    _fit(student, tmp_path / "taught", teaching=Teaching([teacher], 2.0, 1.0), config=config)

    def distance(model: Any) -> float:
        wanted, found = (one(SPLITS.train.x, training=False).numpy() for one in (teacher, model))
        return float(np.abs(_softmax(wanted) - _softmax(found)).mean())

    assert distance(student) < 0.5 * distance(alone)


def test_loss_is_the_models_own_again_after_the_block() -> None:
    load_keras()
    import tensorflow as tf

    model, x, y = _penalized(), tf.constant(X), tf.constant(Y)
    before = float(model.compute_loss(x, y, model(x)))
    with taught(model, Teaching([_teacher()], 2.0, 0.5), SPEC.head):
        assert "compute_loss" in vars(model)
        assert float(model.compute_loss(x, y, model(x))) != pytest.approx(before)
    assert "compute_loss" not in vars(model)
    assert float(model.compute_loss(x, y, model(x))) == pytest.approx(before)


def test_loss_is_the_models_own_again_after_an_exception(tmp_path: Path) -> None:
    model = _model()
    with pytest.raises(KeyboardInterrupt):
        _fit(model, tmp_path, teaching=Teaching([_teacher()], 2.0, 0.5), emit=_killed_after(1))
    assert "compute_loss" not in vars(model)


def test_teacher_without_weight_is_no_teacher_bit_for_bit(tmp_path: Path) -> None:
    alone, student = _cnn(), _cnn()
    history = _fit(alone, tmp_path / "alone", config=PLAIN)
    assert _fit(student, tmp_path / "taught", teaching=Teaching([_teacher()], 4.0, 0.0), config=PLAIN) == history
    assert _same(alone, student)


def test_teacher_is_as_it_was_after_the_fit_statistics_included(tmp_path: Path) -> None:
    teacher = _teacher()
    before = teacher.get_weights()
    assert any("moving_mean" in weight.name for weight in teacher.weights)
    student, alone = _cnn(), _cnn()
    _fit(student, tmp_path / "taught", teaching=Teaching([teacher], 4.0, 0.9), config=PLAIN)
    assert all(np.array_equal(one, two) for one, two in zip(teacher.get_weights(), before, strict=True))
    _fit(alone, tmp_path / "alone", config=PLAIN)
    assert not _same(student, alone)


def test_weights_are_bit_equal_when_killed_and_called_again_with_a_teacher(tmp_path: Path) -> None:
    def fit(model: Any, folder: str, **options: Any) -> Any:
        teaching = Teaching([_teacher(1), _teacher(2)], 4.0, 0.7)
        return _fit(model, tmp_path / folder, teaching=teaching, config=PLAIN, **options)

    whole, resumed = _cnn(dropout=0.5), _cnn(dropout=0.5)
    history = fit(whole, "whole")
    with pytest.raises(KeyboardInterrupt):
        fit(_cnn(dropout=0.5), "killed", emit=_killed_after(1))
    assert fit(resumed, "killed") == history
    assert _same(whole, resumed)
