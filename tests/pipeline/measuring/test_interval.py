from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from pipeline.errors import RunError
from pipeline.measuring.interval import Interval, clopper_pearson, geometric_mean, percentile_bootstrap


def test_interval_gives_its_three_numbers_when_written_to_json() -> None:
    assert Interval(0.9, 0.8, 1.0).to_dict() == {"value": 0.9, "low": 0.8, "high": 1.0}


@pytest.mark.parametrize(("hits", "trials"), [(0, 360), (1, 10), (354, 360), (360, 360)])
def test_clopper_pearson_equals_scipys_exact_interval(hits: int, trials: int) -> None:
    exact = stats.binomtest(hits, trials).proportion_ci(confidence_level=0.95, method="exact")
    found = clopper_pearson(hits, trials)
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), abs=1e-9)


def test_clopper_pearson_fails_when_there_are_no_trials() -> None:
    with pytest.raises(RunError, match="over nothing") as caught:
        clopper_pearson(0, 0)
    assert "at least 1 sample" in str(caught.value)


def test_geometric_mean_contains_the_truth_in_95_percent_of_simulated_cases() -> None:
    generator = np.random.default_rng(0)
    hits = 0
    for _ in range(1000):
        found = geometric_mean(np.exp(generator.normal(np.log(2.0), 0.1, size=5)))
        hits += found.low <= 2.0 <= found.high
    assert 930 <= hits <= 970


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 0.0], [1.0, float("nan")]])
def test_geometric_mean_fails_when_a_block_is_missing_or_no_positive_number(values: list[float]) -> None:
    with pytest.raises(RunError, match="interval over blocks cannot be computed") as caught:
        geometric_mean(values)
    assert f"{len(values)} blocks" in str(caught.value)
    assert "more blocks" in str(caught.value)


def test_percentile_bootstrap_contains_the_estimate_when_the_draws_are_biased() -> None:
    assert percentile_bootstrap(0.9, np.linspace(0.5, 0.8, 100)).high == 0.9
