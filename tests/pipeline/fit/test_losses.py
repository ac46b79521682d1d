"""What is minimized, compared with scikit-learn's and with what is computed by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.compress.distillation import binary_loss, binary_targets, value_loss
from pipeline.errors import InputError
from pipeline.fit import losses
from pipeline.fit.config import FitConfig
from pipeline.own_code.objective import Objective
from pipeline.predictor import Head
from tests.pipeline.fit.test_loop import SPLITS, _fit, _model

RANDOM = np.random.default_rng(3)
LOGITS = RANDOM.normal(0, 2, (40, 3)).astype(np.float32)
LABELS = np.concatenate([np.zeros(24, np.int64), np.ones(12, np.int64), [2, 2, 2, 2]])
WANTED = (RANDOM.random((40, 3)) < [0.5, 0.2, 0.1]).astype(np.float32)
CLASSES = Head("classification", (3,), ("a", "b", "c"))
LABELLED = Head("multilabel", (3,), ("a", "b", "c"))
VALUES = Head("regression", (2,), (), "", (10.0, 20.0), (2.0, 5.0))


def _of(head: Head, y: np.ndarray, **options: Any) -> Any:
    return losses.of(head, FitConfig.model_validate(options), y, stage="train")


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    found: np.ndarray = 1 / (1 + np.exp(-logits.astype(np.float64)))
    return found


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits.astype(np.float64))
    found: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return found


def test_balanced_cross_entropy_is_scikit_learns_log_loss_with_its_balanced_weights() -> None:
    from sklearn.metrics import log_loss
    from sklearn.utils.class_weight import compute_sample_weight

    weights = compute_sample_weight("balanced", LABELS)
    assert weights.mean() == pytest.approx(1)
    expected = log_loss(LABELS, _softmax(LOGITS), sample_weight=weights)
    assert float(_of(CLASSES, LABELS, class_weights="balanced")(LABELS, LOGITS)) == pytest.approx(expected, rel=1e-5)
    assert float(_of(CLASSES, LABELS)(LABELS, LOGITS)) != pytest.approx(expected, rel=1e-3)


def test_named_weights_multiply_the_loss_of_their_class_and_smoothing_stays() -> None:
    found = float(_of(CLASSES, LABELS, class_weights={"c": 7.0}, label_smoothing=0.3)(LABELS, LOGITS))
    smoothed = np.eye(3)[LABELS] * 0.7 + 0.1
    each = -(smoothed * np.log(_softmax(LOGITS))).sum(axis=1) * np.where(LABELS == 2, 7, 1)
    assert found == pytest.approx(each.mean(), rel=1e-5)


def test_class_that_no_training_sample_has_weighs_one() -> None:
    assert losses.balanced_weights(np.array([0, 0, 0, 2]), 4) == pytest.approx((4 / 6, 1, 2, 1))


def test_binary_cross_entropy_is_the_mean_of_scikit_learns_over_labels() -> None:
    from sklearn.metrics import log_loss

    expected = np.mean([log_loss(WANTED[:, place], _sigmoid(LOGITS)[:, place]) for place in range(3)])
    assert float(_of(LABELLED, WANTED)(WANTED, LOGITS)) == pytest.approx(expected, rel=1e-5)


def test_balanced_labels_weigh_as_much_where_they_are_there_as_where_they_are_not() -> None:
    weights = losses.positive_weights(WANTED)
    assert weights * WANTED.sum(axis=0) == pytest.approx((1 - WANTED).sum(axis=0))
    p = _sigmoid(LOGITS)
    by_hand = -(np.array(weights) * WANTED * np.log(p) + (1 - WANTED) * np.log(1 - p)).mean()
    assert float(_of(LABELLED, WANTED, class_weights="balanced")(WANTED, LOGITS)) == pytest.approx(by_hand, rel=1e-5)


def test_smoothed_labels_are_drawn_to_a_half() -> None:
    p, smoothed = _sigmoid(LOGITS), WANTED * 0.8 + 0.1
    by_hand = -(smoothed * np.log(p) + (1 - smoothed) * np.log(1 - p)).mean()
    assert float(_of(LABELLED, WANTED, label_smoothing=0.2)(WANTED, LOGITS)) == pytest.approx(by_hand, rel=1e-5)


@pytest.mark.parametrize(
    ("options", "cost"),
    [
        ({}, np.square),
        ({"loss": "mse"}, np.square),
        ({"loss": "mae"}, np.abs),
        ({"loss": "huber"}, lambda z: np.where(np.abs(z) <= 1, z**2 / 2, np.abs(z) - 0.5)),
        ({"loss": "huber", "huber_delta": 0.5}, lambda z: np.where(np.abs(z) <= 0.5, z**2 / 2, np.abs(z) / 2 - 0.125)),
    ],
    ids=["default", "mse", "mae", "huber", "huber-half"],
)
def test_errors_of_values_are_counted_in_standard_deviations_by_the_data_and_by_a_teacher(
    options: dict[str, Any], cost: Any
) -> None:
    wanted, answered = (RANDOM.normal([10, 20], [2, 5], (30, 2)).astype(np.float32) for _ in range(2))
    expected = cost((answered - wanted) / [2, 5]).mean()
    assert float(_of(VALUES, wanted, **options)(wanted, answered)) == pytest.approx(expected, rel=1e-5)
    distance = losses.distance(FitConfig.model_validate(options))
    assert float(value_loss([wanted], answered, VALUES.deviation, distance)) == pytest.approx(expected, rel=1e-5)


def test_taught_labels_diverge_from_the_mean_of_softened_teachers_each_by_itself() -> None:
    first, second, student = (RANDOM.normal(0, 3, (6, 4)).astype(np.float32) for _ in range(3))
    targets = binary_targets([first, second], 4.0)
    wanted = (_sigmoid(first / 4) + _sigmoid(second / 4)) / 2
    assert targets.numpy() == pytest.approx(wanted, abs=1e-6)
    q = _sigmoid(student / 4)
    by_hand = 16 * np.mean(wanted * np.log(wanted / q) + (1 - wanted) * np.log((1 - wanted) / (1 - q)))
    assert float(binary_loss(targets, student, 4.0)) == pytest.approx(by_hand, rel=1e-4)
    assert float(binary_loss(binary_targets([student], 4.0), student, 4.0)) == pytest.approx(0, abs=1e-5)
    certain = np.float32([[0, 1]])
    assert float(binary_loss(certain, np.float32([[30, -30]]), 1.0)) == pytest.approx(30, rel=1e-4)


@pytest.mark.parametrize(
    ("head", "options", "what", "todo"),
    [
        (CLASSES, {"loss": "mae"}, "train.loss is mae, which is for values, and a classification has labels", "leave"),
        (LABELLED, {"loss": "huber"}, "train.loss is huber, which is for values, and a multilabel has labels", "leave"),
        (VALUES, {"class_weights": "balanced"}, "train.class_weights is for labels, which a regression has not",
         "leave it out"),
        (VALUES, {"label_smoothing": 0.1}, "train.label_smoothing is for labels, which a regression has not",
         "leave it out"),
        (CLASSES, {"class_weights": {"a": 1, "d": 2}}, "train.class_weights names classes that the data has not",
         "correct the names"),
    ],
)  # fmt: skip
def test_keys_of_another_task_are_refused(head: Head, options: dict[str, Any], what: str, todo: str) -> None:
    with pytest.raises(InputError) as caught:
        _of(head, LABELS, **options)
    assert caught.value.what == what
    assert caught.value.todo.startswith(todo)


def test_weights_move_a_fit_and_its_validation_loss_is_weighted_too(tmp_path: Path) -> None:
    once = {"epochs": 2, "early_stopping": None, "schedule": {"name": "constant"}}
    plain, weighted = _model(), _model()
    _fit(plain, tmp_path / "plain", config=once)
    history = _fit(weighted, tmp_path / "weighted", config=once | {"class_weights": {"c": 50.0}})
    x, y = SPLITS.validation.x, SPLITS.validation.y

    def answered(model: Any) -> int:
        return int((model.predict(x, verbose=0).argmax(axis=1) == 2).sum())

    assert answered(weighted) > answered(plain)
    logits = weighted.predict(x, verbose=0)
    expected = float(losses.cross_entropy(0.0, (1.0, 1.0, 50.0))(y, logits))
    assert history.epochs["val_loss"][-1] == pytest.approx(expected, rel=1e-4)


def test_loss_of_the_users_own_is_not_weighed_and_the_message_says_so(tmp_path: Path) -> None:
    own = Objective("somebodys", "focal", ())
    with pytest.raises(InputError, match=r"train\.class_weights is for the cross-entropy") as caught:
        _fit(_model(), tmp_path, config={"class_weights": "balanced"}, objective=own)
    assert caught.value.found == "the loss focal"
