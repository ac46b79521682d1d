from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from pipeline.scoring import ranking

CHANCE = np.random.default_rng(11)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("levels", [2, 5, 1000])
def test_weighed_areas_are_scikit_learns(seed: int, levels: int) -> None:
    chance = np.random.default_rng(seed)
    wanted = chance.random(40) < chance.uniform(0.1, 0.9)
    wanted[:2] = [True, False]
    scores = chance.integers(0, levels, 40).astype(float)
    weights = chance.integers(0, 4, (40, 3)).astype(float)
    weights[:2] += 1
    for column, auc, precision in zip(
        weights.T, ranking.roc_auc(wanted, scores)(weights), ranking.average_precision(wanted, scores)(weights),
        strict=True,
    ):  # fmt: skip
        assert auc == pytest.approx(sk.roc_auc_score(wanted, scores, sample_weight=column))
        assert precision == pytest.approx(sk.average_precision_score(wanted, scores, sample_weight=column))


def test_area_is_not_defined_where_one_side_weighs_nothing() -> None:
    wanted, scores = np.array([True, False, True]), np.array([0.1, 0.2, 0.3])
    assert np.isnan(ranking.roc_auc(wanted, scores)(np.array([[0.0], [1.0], [0.0]]))).all()
    assert np.isnan(ranking.average_precision(wanted, scores)(np.array([[0.0], [1.0], [0.0]]))).all()


def test_curve_has_the_area_of_the_metric_and_its_ends() -> None:
    wanted = CHANCE.random(5000) < 0.3
    scores = CHANCE.normal(size=5000) + wanted
    points = np.array(ranking.curve(wanted, scores))
    assert points[0].tolist() == [0, 0]
    assert points[-1].tolist() == [1, 1]
    assert len(points) <= 200
    area = np.trapezoid(points[:, 1], points[:, 0])
    assert area == pytest.approx(sk.roc_auc_score(wanted, scores), abs=2e-3)
    assert ranking.curve(np.array([False, True]), np.array([0.0, 1.0])) == [(0, 0), (0, 1), (1, 1)]
