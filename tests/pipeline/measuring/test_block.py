"""Why a block of SingleStream or MultiStream is not valid, and what would make it so."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pipeline.measuring import latency
from pipeline.measuring.block import Plan, Reason, Verdict, explain
from pipeline.measuring.latency_config import LatencyConfig
from tests.pipeline.measuring.fakes import Busy

PLAN = Plan("SingleStream", 1, 100, 500, 60_000, 0.99, 1_000_000)


@pytest.mark.parametrize(
    ("reasons", "plan", "problem", "advice"),
    [
        (
            ("queries", "confidence"), PLAN,
            "200 queries are too few for a p99, 662 are needed: at 300 ms each max_duration_ms 60000 allows no more",
            "max_duration_ms 220000",
        ),
        (
            ("duration",), PLAN,
            "200 queries of 300 ms are shorter than min_duration_ms 500: 1 ms each were expected",
            "run it again, with a longer warm-up",
        ),
        (
            ("duration",), dataclasses.replace(PLAN, max_duration_ms=400),
            "200 queries of 300 ms are shorter than min_duration_ms 500: 1 ms each were expected",
            "max_duration_ms above 500",
        ),
        (("other",), PLAN, "the generator calls the block INVALID and does not say why", "report this"),
    ],
)  # fmt: skip
def test_problem_has_its_numbers_and_a_remedy(
    reasons: tuple[Reason, ...], plan: Plan, problem: str, advice: str
) -> None:
    verdict = Verdict("a generator", reasons, 200, 300_000_000)
    assert explain(plan, verdict, np.full(200, 300_000_000)) == ((problem,), (advice,))
    assert not verdict.valid


def test_nothing_is_said_of_a_valid_block() -> None:
    assert explain(PLAN, Verdict("a generator", (), 700, 1000), np.full(700, 1000)) == ((), ())


def test_advice_reaches_the_latency_when_the_longest_duration_is_too_short() -> None:
    config = LatencyConfig(min_block_ms=10, batch_min_block_ms=10, max_block_ms=50, warmup_queries=2)
    found = latency.measure({"slow": Busy(3000)}, np.ones((4, 2), np.float32), config)["slow"]
    assert not found.valid
    assert any("are too few for a p99, 662 are needed" in text for text in found.problems)
    (first, *_) = found.advice
    assert first.startswith("max_duration_ms ")
    assert int(first.removeprefix("max_duration_ms ")) >= 662 * 3
