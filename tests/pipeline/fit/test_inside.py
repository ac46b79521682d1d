"""A fit with a teacher that is seen from inside: features and relations are learned, regressors go again, and it can be
killed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import models
from pipeline.compress.distillation import Teaching, taught, told
from pipeline.compress.distillation.features import attention_loss
from pipeline.compress.distillation.inside import Inside
from pipeline.compress.distillation.relations import angle_loss, distance_loss
from pipeline.errors import InputError
from pipeline.fit.losses import cross_entropy
from pipeline.fit.teach import Attention, Fitnet, Relations
from pipeline.legacy_keras import load as load_keras
from pipeline.predictor import Head
from tests.pipeline.fit.test_loop import SPEC, SPLITS, _cnn, _fit, _killed_after, _same

PLAIN = {"early_stopping": None, "schedule": {"name": "constant"}, "epochs": 3}
X, Y = SPLITS.train.x[:8], SPLITS.train.y[:8]


def _teacher() -> Any:
    """A wider net that knows nothing: what it does inside is all that can be learned of it."""
    teacher = models.build(models.cnn.Config(filters=(6,)), SPEC, 9)
    rng = np.random.default_rng(0)
    teacher.set_weights([rng.uniform(0.2, 1, one.shape).astype(np.float32) for one in teacher.get_weights()])
    return teacher


def _teaching(features: Any = None, relations: Any = None, soft_weight: float = 0.0) -> Teaching:
    return Teaching([_teacher()], 4.0, soft_weight, features, relations)


def _seen(model: Any, teaching: Teaching) -> tuple[Any, Any]:
    """Return what the first pair of layers answers to the training split, in student and teacher."""
    inside = teaching.inside(model, "train")
    assert inside is not None
    _, seen, *_ = inside.student(SPLITS.train.x, training=False)
    _, (shown, *_) = inside.show(SPLITS.train.x)
    return seen, shown


def _hint_error(model: Any, teaching: Teaching) -> float:
    """Return the share of the teacher's features that no linear regressor can tell from the student's."""
    seen, shown = (np.asarray(one).reshape(-1, one.shape[-1]) for one in _seen(model, teaching))
    guided = np.column_stack([seen, np.ones(len(seen))])
    fitted = guided @ np.linalg.lstsq(guided, shown, rcond=None)[0]
    return float(((shown - fitted) ** 2).sum() / ((shown - shown.mean(axis=0)) ** 2).sum())


def _flat(one: Any) -> Any:
    return np.asarray(one).reshape(len(one), -1)


def _ways() -> dict[str, tuple[dict[str, Any], Any]]:
    def loss(compared: Any, teaching: Teaching, model: Any) -> float:
        seen, shown = _seen(model, teaching)
        return float(compared(shown, seen) if compared is attention_loss else compared(_flat(shown), _flat(seen)))

    return {
        "fitnet": ({"features": Fitnet(weight=10)}, lambda teaching, model: _hint_error(model, teaching)),
        "attention": ({"features": Attention(weight=100)}, lambda *them: loss(attention_loss, *them)),
        "distances": (
            {"relations": Relations(distance_weight=100, angle_weight=0)},
            lambda *them: loss(distance_loss, *them),
        ),
        "angles": (
            {"relations": Relations(distance_weight=0, angle_weight=100)},
            lambda *them: loss(angle_loss, *them),
        ),
    }


@pytest.mark.parametrize("way", _ways())
def test_student_comes_nearer_to_its_teacher_in_what_it_learns_of_it(way: str, tmp_path: Path) -> None:
    options, distance = _ways()[way]
    teaching = _teaching(**options)
    config = {**PLAIN, "epochs": 20}
    student, alone = _cnn(), _cnn()
    _fit(student, tmp_path / "taught", teaching=teaching, config=config)
    _fit(alone, tmp_path / "alone", config=config)
    assert distance(teaching, student) < 0.7 * distance(teaching, alone)
    assert distance(teaching, student) < 0.7 * distance(teaching, _cnn())


def test_one_step_follows_labels_answers_and_features_and_trains_the_regressor_too() -> None:
    """A linear student, whose gradients can be had by hand: samples -> hidden (linear) -> logits."""
    keras = load_keras()

    def linear(units: int, seed: int) -> Any:
        keras.utils.set_random_seed(seed)
        inputs = keras.Input((4, 4, 1), name="image")
        hidden = keras.layers.Dense(units, use_bias=False, name="hidden")(keras.layers.Flatten()(inputs))
        return keras.Model(inputs, keras.layers.Dense(3, use_bias=False, name="logits")(hidden))

    student, teacher = linear(2, 1), linear(4, 2)
    student.compile(optimizer=keras.optimizers.SGD(1.0), loss=cross_entropy(0.0))
    first, second = (weight.astype(np.float64) for weight in student.get_weights())
    flat = X.reshape(len(X), -1).astype(np.float64)
    hidden, hints = flat @ first, flat @ teacher.get_weights()[0].astype(np.float64)
    logits = hidden @ second
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    by_logits = (powers / powers.sum(axis=1, keepdims=True) - np.eye(3)[Y]) / len(X)
    teaching = Teaching([teacher], 1.0, 0.0, Fitnet(layers={"hidden": "hidden"}, weight=0.5))
    with taught(student, teaching, SPEC.head, seed=3):
        assert len(student.trainable_variables) == 4
        kernel, bias = (one.numpy().astype(np.float64) for one in student.trainable_variables[2:])
        student.train_on_batch(X, Y)
        trained = student.trainable_variables[2].numpy()
    assert bias == pytest.approx(np.zeros(4))
    # of 0.5 * 1/2 * mean((hidden R - hints)^2)
    by_guided = 0.5 * (hidden @ kernel - hints) / hints.size
    by_hidden = by_logits @ second.T + by_guided @ kernel.T
    found_first, found_second = student.get_weights()
    assert first - found_first == pytest.approx(flat.T @ by_hidden, abs=1e-5)
    assert second - found_second == pytest.approx(hidden.T @ by_logits, abs=1e-5)
    assert kernel - trained == pytest.approx(hidden.T @ by_guided, abs=1e-5)


def test_loss_is_the_weighted_mean_over_pairs_of_layers() -> None:
    student, teaching = _cnn(), _teaching(Attention(weight=3, layers={"relu_1": "relu_1", "pool_1": "pool_1"}))
    inside = teaching.inside(student, "train")
    assert inside is not None
    _, seen = inside.see(X)
    _, shown = inside.show(X)
    expected = 3 / 2 * sum(float(attention_loss(one, other)) for one, other in zip(shown, seen, strict=True))
    assert float(inside.loss(seen, shown)) == pytest.approx(expected, rel=1e-5)


def test_nothing_but_the_trained_weights_remains_of_the_regressors(tmp_path: Path) -> None:
    student, alone = _cnn(), _cnn()
    before = [weight.name for weight in student.weights]
    _fit(student, tmp_path, teaching=_teaching(Fitnet(), Relations(), 0.5), config=PLAIN)
    assert [weight.name for weight in student.weights] == before
    assert [layer.name for layer in student.layers] == [layer.name for layer in alone.layers]
    assert not {"train_step", "compute_loss", "regressors"} & set(vars(student))
    student.save(tmp_path / "model.keras", save_format="keras")
    assert _same(load_keras().models.load_model(tmp_path / "model.keras"), student)


def test_model_is_its_own_again_after_an_exception(tmp_path: Path) -> None:
    student = _cnn()
    with pytest.raises(KeyboardInterrupt):
        _fit(student, tmp_path, teaching=_teaching(Fitnet()), emit=_killed_after(1))
    assert not {"train_step", "compute_loss", "regressors"} & set(vars(student))
    assert len(student.get_weights()) == len(_cnn().get_weights())


@pytest.mark.parametrize(
    "stopping",
    [pytest.param(None, id="all epochs"), pytest.param({"patience": 3}, id="the best epoch", marks=pytest.mark.long)],
)
def test_weights_are_bit_equal_when_killed_and_called_again_with_hints(tmp_path: Path, stopping: Any) -> None:
    config = {**PLAIN, "early_stopping": stopping}

    def fit(model: Any, folder: str, **options: Any) -> Any:
        teaching = _teaching(Fitnet(weight=5), Relations(), 0.3)
        return _fit(model, tmp_path / folder, teaching=teaching, config=config, **options)

    whole, resumed = _cnn(dropout=0.5), _cnn(dropout=0.5)
    history = fit(whole, "whole")
    with pytest.raises(KeyboardInterrupt):
        fit(_cnn(dropout=0.5), "killed", emit=_killed_after(1))
    assert fit(resumed, "killed") == history
    assert _same(whole, resumed)


def test_regressors_start_differently_with_another_seed() -> None:
    def start(seed: int) -> np.ndarray:
        model = _cnn()
        with taught(model, _teaching(Fitnet()), SPEC.head, seed=seed):
            found: np.ndarray = model.regressors.get_weights()[0]
        return found

    assert np.array_equal(start(1), start(1))
    assert not np.array_equal(start(1), start(2))


def test_history_shows_the_loss_of_the_labels_alone(tmp_path: Path) -> None:
    still = {**PLAIN, "optimizer": {"name": "sgd", "learning_rate": 1e-12}, "epochs": 1}
    alone = _fit(_cnn(), tmp_path / "alone", config=still)
    found = _fit(_cnn(), tmp_path / "taught", teaching=_teaching(Fitnet(), Relations(), 0.5), config=still)
    assert {name: values for name, values in found.epochs.items() if name != "loss"} == {
        name: values for name, values in alone.epochs.items() if name != "loss"
    }
    assert found.epochs["loss"] == pytest.approx(alone.epochs["loss"], rel=1e-4)


def test_features_are_those_of_the_first_teacher() -> None:
    both = Teaching([_teacher(), object()], 4.0, 0.0, Fitnet())
    student = _cnn()
    with taught(student, both, SPEC.head):
        student.compile(optimizer="sgd", loss=cross_entropy(0.0))
        student.train_on_batch(X, Y)  # the second is not even called: it is no model
    assert told(student, Teaching([_teacher()] * 2, 4.0, 0.9, Attention(), Relations()), SPEC.head, "distill") == (
        "logits of 2 teachers (temperature 4, weight 0.9)",
        "features by attention (weight 1): relu_1 from relu_1, pool_1 from pool_1 of the first teacher",
        "relations (distances weight 1, angles weight 2): flatten from flatten of the first teacher",
    )


def test_wrong_layer_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    student = _cnn()
    with pytest.raises(InputError, match=r"train\.teach\.features\.layers names what cannot be compared"):
        _fit(student, tmp_path, teaching=_teaching(Fitnet(layers={"conv": "conv_1"})))
    assert not (tmp_path / "checkpoints").exists()
    assert _same(student, _cnn())


def test_inside_of_a_model_is_that_model() -> None:
    student = _cnn()
    inside = _teaching(Fitnet()).inside(student, "train")
    assert isinstance(inside, Inside)
    assert all(one is other for one, other in zip(inside.student.weights, student.weights, strict=True))


@pytest.mark.parametrize(
    ("head", "answers"),
    [
        (Head("regression", (1,), mean=(0.0,), deviation=(2.0,)), "value"),
        (Head("multilabel", (3,), ("a", "b", "c")), "logits"),
    ],
    ids=["values", "labels"],
)
def test_rows_are_learned_of_by_hints_and_relations_whatever_the_task(head: Head, answers: str) -> None:
    keras = load_keras()
    rows = np.random.default_rng(1).normal(size=(8, 5)).astype(np.float32)
    wanted = np.ones((8, *head.shape), np.float32)

    def dense(units: int) -> Any:
        keras.utils.set_random_seed(units)
        inputs = keras.Input((5,), name="features")
        hidden = keras.layers.Dense(units, activation="tanh", name="hidden")(inputs)
        return keras.Model(inputs, keras.layers.Dense(head.shape[0], name="end")(hidden))

    def stepped(features: Any, relations: Any) -> Any:
        student = dense(3)
        student.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse")
        teaching = Teaching([dense(6)] * 2, 2.0, 0.5, features, relations)
        assert told(student, teaching, head, "distill")[0].startswith(f"{answers} of 2 teachers")
        with taught(student, teaching, head):
            student.train_on_batch(rows, wanted)
        return student

    plain, hinted, related = stepped(None, None), stepped(Fitnet(), None), stepped(None, Relations())
    assert np.array_equal(plain.get_layer("end").kernel, hinted.get_layer("end").kernel)  # behind what is compared
    assert not np.array_equal(plain.get_layer("hidden").kernel, hinted.get_layer("hidden").kernel)
    assert not np.array_equal(plain.get_layer("hidden").kernel, related.get_layer("hidden").kernel)
