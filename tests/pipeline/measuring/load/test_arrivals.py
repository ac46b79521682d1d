from __future__ import annotations

import numpy as np
import pytest

from pipeline.measuring.load.arrivals import arrivals, scheduled


def test_arrivals_are_a_poisson_process_when_there_are_many() -> None:
    gaps = np.diff(arrivals(200, 0, 20_001))
    assert gaps.mean() == pytest.approx(5e6, rel=0.03)
    assert gaps.std() == pytest.approx(5e6, rel=0.03)
    assert np.corrcoef(gaps[:-1], gaps[1:])[0, 1] == pytest.approx(0, abs=0.03)


def test_arrivals_are_the_same_when_the_seed_is() -> None:
    assert arrivals(200, 3, 50).tolist() == arrivals(200, 3, 100)[:50].tolist()
    assert arrivals(200, 3, 50).tolist() != arrivals(200, 4, 50).tolist()
    assert arrivals(200, 3, 1).tolist() == [0.0]


def test_schedule_lasts_the_duration_or_as_long_as_its_queries_take() -> None:
    long = scheduled(1000, 0, 2000, 10)
    assert long[-1] <= 2e9 < arrivals(1000, 0, len(long) + 1)[-1]
    assert len(scheduled(1000, 0, 10, 500)) == 500
