from __future__ import annotations

import numpy as np
import pytest

from pipeline.compress.distillation import soft_loss, soft_targets
from pipeline.legacy_keras import load as load_keras

RANDOM = np.random.default_rng(5)
TEACHER = RANDOM.normal(0, 3, (6, 4)).astype(np.float32)
OTHER = RANDOM.normal(0, 3, (6, 4)).astype(np.float32)
STUDENT = RANDOM.normal(0, 3, (6, 4)).astype(np.float32)


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    found: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return found


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0, 100.0])
def test_soft_targets_are_the_softened_answers(temperature: float) -> None:
    found = soft_targets([TEACHER], temperature).numpy()
    assert found == pytest.approx(_softmax(TEACHER / temperature), abs=1e-6)
    assert found.dtype == np.float32


def test_several_teachers_are_averaged_as_probabilities_not_as_logits() -> None:
    found = soft_targets([TEACHER, 10 * OTHER, STUDENT], 2.0).numpy()
    expected = (_softmax(TEACHER / 2) + _softmax(5 * OTHER) + _softmax(STUDENT / 2)) / 3
    assert found == pytest.approx(expected, abs=1e-6)
    assert not np.allclose(found, _softmax((TEACHER + 10 * OTHER + STUDENT) / 6), atol=0.01)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_soft_loss_is_the_divergence_times_the_temperature_squared(temperature: float) -> None:
    targets, answers = _softmax(TEACHER / temperature), _softmax(STUDENT / temperature)
    by_hand = temperature**2 * np.mean([sum(p * np.log(p / q)) for p, q in zip(targets, answers, strict=True)])
    found = soft_loss(targets.astype(np.float32), STUDENT, temperature)
    assert float(found) == pytest.approx(by_hand, rel=1e-4)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 20.0])
def test_perfect_student_has_no_loss(temperature: float) -> None:
    assert float(soft_loss(soft_targets([TEACHER], temperature), TEACHER + 7, temperature)) == pytest.approx(
        0, abs=1e-4
    )


def test_certain_teacher_makes_no_nan() -> None:
    targets = np.float32([[1, 0, 0], [0, 0, 1]])
    found = float(soft_loss(targets, np.float32([[50, 0, 0], [0, 200, 0]]), 1.0))
    assert found == pytest.approx(100, rel=1e-4)


def test_gradients_keep_their_size_whatever_the_temperature() -> None:
    load_keras()
    import tensorflow as tf

    def gradient(temperature: float) -> np.ndarray:
        logits = tf.constant(STUDENT)
        with tf.GradientTape() as tape:
            tape.watch(logits)
            loss = soft_loss(soft_targets([TEACHER], temperature), logits, temperature)
        found: np.ndarray = tape.gradient(loss, logits).numpy()
        return found

    # by hand: T (softmax(student / T) - softmax(teacher / T)) / n
    by_hand = 4 * (_softmax(STUDENT / 4) - _softmax(TEACHER / 4)) / len(STUDENT)
    assert gradient(4.0) == pytest.approx(by_hand, abs=1e-6)

    def centered(logits: np.ndarray) -> np.ndarray:
        return logits - logits.mean(axis=1, keepdims=True)

    # in the limit of high temperatures: the difference of the logits over n classes (section 2.1 of the paper)
    limit = (centered(STUDENT) - centered(TEACHER)) / (STUDENT.shape[1] * len(STUDENT))
    assert gradient(300.0) == pytest.approx(limit, abs=0.02 * float(np.abs(limit).max()))
    assert gradient(600.0) == pytest.approx(gradient(300.0), abs=0.03 * float(np.abs(limit).max()))
