from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from pipeline.predictor import Head
from pipeline.scoring.head import parts, undefined, value

CHANCE = np.random.default_rng(7)
ANOMALIES = Head("anomaly", (8, 8, 1))


def names(head: Head) -> set[str]:
    return {name for part in parts(head) for name in part.names}


def test_each_of_several_values_has_metrics_of_its_own() -> None:
    wanted = CHANCE.normal(5, 2, (200, 3))
    answered = wanted + CHANCE.normal(0, [0.5, 1, 2], (200, 3))
    head = Head("regression", (3,))
    for name, of in (("r2", sk.r2_score), ("mse", sk.mean_squared_error), ("mae", sk.mean_absolute_error)):
        assert value(head, name, wanted, answered) == pytest.approx(of(wanted, answered))
        for place in range(3):
            expected = of(wanted[:, place], answered[:, place])
            assert value(head, f"{name}.{place}", wanted, answered) == pytest.approx(expected)


def test_single_value_and_reconstruction_have_no_parts() -> None:
    assert names(Head("regression", (1,))) == names(Head("reconstruction", (4, 4, 1))) == {"r2", "mse", "mae"}
    wanted = CHANCE.random((50, 4, 4, 1))
    answered = wanted + CHANCE.normal(0, 0.1, wanted.shape)
    flat = wanted.reshape(50, -1), answered.reshape(50, -1)
    found = value(Head("reconstruction", (4, 4, 1)), "r2", wanted, answered)
    assert found == pytest.approx(sk.r2_score(*flat, multioutput="variance_weighted"))


def test_anomaly_scores_are_ranked_as_scikit_learn_does() -> None:
    wanted = (CHANCE.random(400) < 0.1).astype(np.int64)
    scores = (CHANCE.normal(size=400) + 1.5 * wanted).round(1)  # with ties
    assert value(ANOMALIES, "roc_auc", wanted, scores) == pytest.approx(sk.roc_auc_score(wanted, scores))
    expected = sk.average_precision_score(wanted, scores)
    assert value(ANOMALIES, "average_precision", wanted, scores) == pytest.approx(expected)
    assert value(ANOMALIES, "mse", wanted, scores) == pytest.approx(scores[wanted == 0].mean())


@pytest.mark.parametrize(("one", "said"), [(0, "no sample is an anomaly"), (1, "no sample is normal")])
def test_ranking_of_one_kind_alone_is_not_defined(one: int, said: str) -> None:
    wanted = np.full(9, one)
    assert np.isnan(value(ANOMALIES, "roc_auc", wanted, CHANCE.random(9)))
    assert undefined(ANOMALIES, "roc_auc", wanted) == said
