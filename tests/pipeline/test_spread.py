"""Mean, deviation and the corrected interval of folds, against NumPy and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from pipeline.spread import differences, spread, spreads

VALUES = (0.91, 0.94, 0.89, 0.95, 0.93)


def test_mean_deviation_and_range_are_those_of_the_sample() -> None:
    found = spread(VALUES, 0.25)
    assert found.values == VALUES
    assert found.mean == pytest.approx(np.mean(VALUES))
    assert found.deviation == pytest.approx(np.std(VALUES, ddof=1))
    assert (found.low, found.high) == (0.89, 0.95)


@pytest.mark.parametrize("count", [2, 3, 5, 10])
@pytest.mark.parametrize("share", [1.0, 0.75])
def test_interval_is_that_of_nadeau_and_bengio(count: int, share: float) -> None:
    """`share`: of the other folds' samples, those that weights are learned from."""
    tested_to_trained = 1 / (share * (count - 1))
    values = np.random.default_rng(count).uniform(0.8, 1, count)
    found = spread(values.tolist(), tested_to_trained)
    assert found.interval is not None
    scale = np.sqrt((1 / count + tested_to_trained) * np.var(values, ddof=1))
    expected = stats.t.interval(0.95, count - 1, loc=values.mean(), scale=scale)
    assert found.interval == pytest.approx(expected, abs=1e-6)
    plain = stats.t.interval(0.95, count - 1, loc=values.mean(), scale=values.std(ddof=1) / np.sqrt(count))
    assert found.interval[0] < plain[0]  # wider than if the folds were independent
    assert found.interval[1] > plain[1]


def test_folds_that_agree_have_no_interval() -> None:
    found = spread([1.0, 1.0, 1.0], 0.5)
    assert (found.mean, found.deviation, found.interval) == (1.0, 0.0, None)


def test_figures_that_a_fold_lacks_are_left_out() -> None:
    assert set(spreads([{"a": 1.0, "b": 2.0}, {"a": 3.0}], 1)) == {"a"}
    assert set(spreads([{"a": 1.0}, {"a": 3.0, "b": 2.0}], 1)) == {"a"}


def test_figure_that_matters_is_that_of_the_folds_that_have_it() -> None:
    folds = [{"a": 1.0}, {"a": 3.0, "b": 2.0, "c": 2.0}, {"a": 3.0, "b": 4.0, "c": 5.0}]
    found = spreads(folds, 0.5, ["b"])
    assert set(found) == {"a", "b"}
    assert found["b"] == spread([2.0, 4.0], 0.5)
    assert set(spreads(folds[:2], 0.5, ["b"])) == {"a"}  # one value has no spread


def test_differences_are_taken_fold_by_fold() -> None:
    before = [{"a": 0.9, "b": 1.0}, {"a": 0.5, "b": 1.0}, {"a": 0.7}]
    after = [{"a": 0.8}, {"a": 0.4}, {"a": 0.7}]
    found = differences(after, before, 0.5)
    assert set(found) == {"a"}
    assert found["a"].values == pytest.approx((-0.1, -0.1, 0.0))
    # paired: the folds differ much more than what was lost in them
    assert found["a"].deviation < spreads(after, 0.5)["a"].deviation / 3
