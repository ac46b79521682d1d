from __future__ import annotations

import subprocess
import sys

import pytest
from scipy import special

from pipeline import students_t
from pipeline.measuring import interval


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 9, 30, 999])
def test_quantile_is_that_of_scipy(degrees: int) -> None:
    assert students_t.quantile(degrees) == pytest.approx(special.stdtrit(degrees, 0.975), abs=1e-7)


@pytest.mark.parametrize("ratios", [[1.0, 1.1], [2.0, 2.1, 1.9, 2.0, 2.2], [1.0, 1.0, 1.0]])
def test_interval_is_the_one_of_the_speed_up(ratios: list[float]) -> None:
    expected = interval.geometric_mean(ratios)
    assert students_t.geometric_mean(ratios) == pytest.approx((expected.value, expected.low, expected.high))


def test_what_a_stage_bought_is_computed_without_numpy() -> None:
    code = "import sys; import pipeline.bought; assert not {'numpy', 'scipy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
