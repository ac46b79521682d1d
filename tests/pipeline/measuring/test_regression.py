from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

from pipeline.errors import RunError
from pipeline.measuring import regression

RANDOM = np.random.default_rng(0)
WANTED = RANDOM.normal(size=(200, 3)) * (1, 5, 0.2)
ANSWERED = WANTED + RANDOM.normal(size=WANTED.shape) * (0.3, 2, 0.1)


def test_definitions_are_scikit_learns() -> None:
    found = regression.metrics(WANTED, ANSWERED, resamples=100)
    assert found["r2"].value == pytest.approx(r2_score(WANTED, ANSWERED))
    assert found["mse"].value == pytest.approx(mean_squared_error(WANTED, ANSWERED))
    assert found["mae"].value == pytest.approx(mean_absolute_error(WANTED, ANSWERED))
    together = regression.metrics(WANTED, ANSWERED, together=True, resamples=100)["r2"]
    assert together.value == pytest.approx(r2_score(WANTED, ANSWERED, multioutput="variance_weighted"))
    assert together.value != pytest.approx(found["r2"].value, abs=1e-3)


def test_interval_is_that_of_resampled_samples() -> None:
    found = regression.metrics(WANTED, ANSWERED, resamples=2000)["r2"]
    draws = []
    for _ in range(2000):
        chosen = RANDOM.integers(0, len(WANTED), len(WANTED))
        draws.append(r2_score(WANTED[chosen], ANSWERED[chosen]))
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(draws, [2.5, 97.5])), abs=0.01)
    assert found == regression.metrics(WANTED, ANSWERED, resamples=2000)["r2"]


def test_drop_is_paired() -> None:
    worse = ANSWERED + 0.05 * (ANSWERED - WANTED)  # every error a little larger
    found = regression.drop(WANTED, ANSWERED, worse, resamples=500)
    assert found.value == pytest.approx(r2_score(WANTED, ANSWERED) - r2_score(WANTED, worse))
    # each alone is less certain than their difference by far
    alone = regression.metrics(WANTED, ANSWERED, resamples=500)["r2"]
    assert 0 < found.low < found.high
    assert found.high - found.low < (alone.high - alone.low) / 5


def test_values_that_never_differ_are_right_where_they_are_met() -> None:
    wanted = np.column_stack([WANTED[:, 0], np.full(len(WANTED), 3.0)])
    assert regression.metrics(wanted, wanted, resamples=100)["r2"].value == 1
    missed = np.column_stack([WANTED[:, 0], np.full(len(WANTED), 900.0)])
    found = regression.metrics(wanted, missed, resamples=100)["r2"]
    assert found.value == r2_score(wanted, missed) == 0.5
    assert found.high == 0.5


@pytest.mark.parametrize(("scale", "offset"), [(1e-6, 0.0), (0.3, 1.7e9), (1e6, -3e3)])
def test_figures_do_not_depend_on_where_the_values_lie(scale: float, offset: float) -> None:
    wanted, answered = WANTED * scale + offset, ANSWERED * scale + offset
    found = regression.metrics(wanted, answered, resamples=100)["r2"]
    assert found.value == pytest.approx(r2_score(WANTED, ANSWERED), abs=1e-4)


@pytest.mark.parametrize(
    ("answered", "said"),
    [
        (np.where(np.arange(600).reshape(200, 3) == 7, np.nan, ANSWERED), "not all finite"),
        (ANSWERED[:100], "cannot be compared"),
        (ANSWERED[:, :2], "cannot be compared"),
    ],
)
def test_what_cannot_be_compared_is_refused(answered: np.ndarray, said: str) -> None:
    with pytest.raises(RunError, match=said):
        regression.metrics(WANTED, answered)
