"""Hints and attention transfer against numpy, and what they must not depend on."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.compress.distillation.features import attention_loss, attention_map, hint_loss
from pipeline.legacy_keras import load as load_keras

RANDOM = np.random.default_rng(6)
TEACHER = RANDOM.normal(0, 3, (5, 4, 3, 6)).astype(np.float32)
STUDENT = RANDOM.normal(0, 1, (5, 4, 3, 2)).astype(np.float32)


def _map(features: np.ndarray) -> np.ndarray:
    energy = (features.astype(np.float64) ** 2).sum(axis=-1).reshape(len(features), -1)
    found: np.ndarray = energy / np.linalg.norm(energy, axis=1, keepdims=True)
    return found


def test_hint_loss_is_half_the_mean_squared_difference() -> None:
    guided = RANDOM.normal(0, 1, TEACHER.shape).astype(np.float32)
    by_hand = 0.5 * np.mean((TEACHER.astype(np.float64) - guided) ** 2)
    assert float(hint_loss(TEACHER, guided)) == pytest.approx(by_hand, rel=1e-5)
    assert float(hint_loss(TEACHER, TEACHER)) == 0


@pytest.mark.parametrize("shape", [(5, 12, 6), (5, 4, 3, 6), (5, 3, 2, 2, 6)])
def test_attention_map_is_the_energy_of_each_position_as_a_vector_of_length_1(shape: tuple[int, ...]) -> None:
    features = RANDOM.normal(0, 2, shape).astype(np.float32)
    found = attention_map(features).numpy()
    assert found == pytest.approx(_map(features), abs=1e-6)
    assert found.shape == (5, 12)


def test_attention_loss_is_the_mean_squared_distance_of_the_maps_whatever_the_channels() -> None:
    by_hand = np.mean(((_map(TEACHER) - _map(STUDENT)) ** 2).sum(axis=1))
    assert float(attention_loss(TEACHER, STUDENT)) == pytest.approx(by_hand, rel=1e-5)


def test_attention_loss_does_not_see_scale_sign_or_order_of_channels() -> None:
    changed = -7 * TEACHER[..., RANDOM.permutation(6)]
    assert float(attention_loss(TEACHER, TEACHER)) == 0
    assert float(attention_loss(TEACHER, changed)) == pytest.approx(0, abs=1e-10)
    assert float(attention_loss(TEACHER, TEACHER[:, ::-1])) > 0.01


def test_attention_loss_is_2_where_no_position_is_shared() -> None:
    one, other = np.zeros((2, 1, 2, 4, 3), np.float32)
    one[0, 0], other[0, 1] = 5, 0.1
    assert float(attention_loss(one, other)) == pytest.approx(2)


@pytest.mark.parametrize("size", [0.0, 1e-12, 1e-5])
def test_layer_that_answers_almost_nothing_has_a_finite_gradient(size: float) -> None:
    load_keras()
    import tensorflow as tf

    features = tf.constant(size * STUDENT)
    with tf.GradientTape() as tape:
        tape.watch(features)
        loss = attention_loss(TEACHER, features)
    assert np.isfinite(float(loss))
    assert np.isfinite(tape.gradient(loss, features).numpy()).all()
