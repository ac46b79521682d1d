"""Times and memory of stages, from when they began and ended."""

from __future__ import annotations

import os
from typing import Any

from tests.benchmarks.memory import Memory
from tests.benchmarks.stages import CPU, REST, WHOLE, Took, rows


class Grown(Memory):
    """Holds as many MB as seconds have passed."""

    def peak_mb(self, *spans: tuple[float, float]) -> float:
        return max(min(last, 100.0) for _, last in spans or [(0.0, 100.0)])


def took(wall: float) -> dict[str, Any]:
    return Took(wall, 2 * wall, Grown(os.getpid())).told({"train": [(10.0, 30.0)], "export": [(40.0, 60.0)]})


def test_what_is_between_stages_is_the_rest() -> None:
    found = took(100.0)

    assert found["stages"]["train"] == {"s": 20.0, "peak_mb": 30.0}
    assert found["stages"]["export"] == {"s": 20.0, "peak_mb": 60.0}
    assert found["stages"][REST] == {"s": 60.0, "peak_mb": 100.0}
    assert (found["s"], found["cpu_s"], found["peak_mb"]) == (100.0, 200.0, 100.0)


def test_rows_are_medians_of_both_sides() -> None:
    pairs = [{"modelmill": took(wall), "script": took(80.0)} for wall in (100.0, 120.0, 500.0)]

    assert rows(pairs) == [
        ["train", "20.0", "20.0", "30", "30"],
        ["export", "20.0", "20.0", "60", "60"],
        [REST, "80.0", "40.0", "100", "100"],
        [WHOLE, "120.0", "80.0", "100", "100"],
        [CPU, "240.0", "160.0", "", ""],
    ]
