"""Relational distillation against loops over pairs and triplets, and what it must not depend on."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from typing import Any

import numpy as np
import pytest

from pipeline.compress.distillation.relations import angle_loss, distance_loss, distances
from pipeline.legacy_keras import load as load_keras

RANDOM = np.random.default_rng(7)
TEACHER = RANDOM.normal(0, 3, (6, 5)).astype(np.float32)
STUDENT = RANDOM.normal(1, 1, (6, 3)).astype(np.float32)
LOSSES = [distance_loss, angle_loss]


def _huber(x: float) -> float:
    return 0.5 * x**2 if abs(x) <= 1 else abs(x) - 0.5


def _distances(points: np.ndarray) -> dict[tuple[int, ...], float]:
    found = {(i, j): float(np.linalg.norm(points[i] - points[j])) for i, j in permutations(range(len(points)), 2)}
    mean = np.mean(list(found.values()))
    return {pair: one / float(mean) for pair, one in found.items()}


def _cosines(points: np.ndarray) -> dict[tuple[int, ...], float]:
    def unit(vector: np.ndarray) -> np.ndarray:
        found: np.ndarray = vector / np.linalg.norm(vector)
        return found

    return {
        (i, j, k): float(unit(points[i] - points[j]) @ unit(points[k] - points[j]))
        for i, j, k in permutations(range(len(points)), 3)
    }


@pytest.mark.parametrize(("loss", "relation"), [(distance_loss, _distances), (angle_loss, _cosines)])
@pytest.mark.parametrize("spread", [1.0, 40.0])
def test_loss_is_the_mean_of_hubers_over_all_pairs_or_triplets(
    loss: Callable[..., Any], relation: Callable[[np.ndarray], dict[tuple[int, ...], float]], spread: float
) -> None:
    student = STUDENT.copy()
    student[0] *= spread  # far away from all: differences above 1, where Huber's loss is a straight line
    wanted, found = (relation(points.astype(np.float64)) for points in (TEACHER, student))
    by_hand = np.mean([_huber(found[some] - wanted[some]) for some in wanted])
    assert float(loss(TEACHER, student)) == pytest.approx(by_hand, rel=1e-4)


@pytest.mark.parametrize("loss", LOSSES)
def test_loss_does_not_see_where_embeddings_lie_how_they_are_turned_and_how_large_they_are(
    loss: Callable[..., Any],
) -> None:
    turn, _ = np.linalg.qr(RANDOM.normal(size=(5, 5)))
    moved = (0.01 * TEACHER @ turn + 4).astype(np.float32)
    wider = np.concatenate([moved, np.full((6, 2), 9, np.float32)], axis=1)
    assert float(loss(TEACHER, TEACHER)) == 0
    assert float(loss(TEACHER, moved)) == pytest.approx(0, abs=1e-8)
    assert float(loss(TEACHER, wider)) == pytest.approx(0, abs=1e-8)
    assert float(loss(TEACHER, TEACHER[::-1])) > 0.01
    assert float(loss(TEACHER, STUDENT)) == pytest.approx(float(loss(STUDENT, TEACHER)), rel=1e-5)


def test_angles_do_not_see_what_distances_see_and_the_other_way_round() -> None:
    # of three points on a line only the order of distances differs
    line, other = np.float32([[0], [1], [2]]), np.float32([[0], [1], [9]])
    assert float(angle_loss(line, other)) == pytest.approx(0, abs=1e-12)
    assert float(distance_loss(line, other)) > 0.01


@pytest.mark.parametrize(("loss", "fewest"), [(distance_loss, 2), (angle_loss, 3)])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_batch_of_too_few_samples_teaches_nothing(loss: Callable[..., Any], fewest: int, count: int) -> None:
    found = float(loss(TEACHER[:count], STUDENT[:count]))
    # two samples are always one mean distance apart
    assert found == pytest.approx(0, abs=1e-12) if count <= 2 else found > 0
    assert count >= fewest or found == 0


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("same", [2, 6])
def test_samples_with_one_embedding_have_finite_losses_and_gradients(loss: Callable[..., Any], same: int) -> None:
    load_keras()
    import tensorflow as tf

    student = STUDENT.copy()
    student[:same] = student[0]
    points = tf.constant(student)
    with tf.GradientTape() as tape:
        tape.watch(points)
        found = loss(TEACHER, points)
    assert np.isfinite(float(found))
    assert np.isfinite(tape.gradient(found, points).numpy()).all()


def test_distances_have_a_mean_of_1_and_directions_a_length_of_1() -> None:
    lengths, directions = (found.numpy() for found in distances(TEACHER))
    assert lengths.sum() / 30 == pytest.approx(1, rel=1e-6)
    assert np.linalg.norm(directions, axis=-1) == pytest.approx(1 - np.eye(6), abs=1e-6)
