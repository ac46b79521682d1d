from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pipeline.measuring.block import queries_needed
from pipeline.measuring.load.plan import Load, Plan
from pipeline.measuring.load.verdict import Reason, enough, explain, judge, needed

SERVER = Plan("Server", 4, 500, 10, 1, 0.99, 1000, 5000, 459)
OFFLINE = Plan("Offline", 4, None, None, 8, 0.99, 1000, 5000, 500)


def _load(plan: Plan, milliseconds: list[float], shed: int = 0, seconds: float = 1.0) -> Load:
    latencies = np.sort(np.array(milliseconds) * 1e6).astype(np.int64)
    throughput = len(milliseconds) * plan.batch / seconds
    return Load(plan, "a generator", latencies, shed, seconds, throughput, False, (), (), 0.1)


@pytest.mark.parametrize(("percentile", "queries"), [(0.99, 459), (0.95, 90), (0.9, 44)])
def test_queries_needed_are_those_of_early_stopping_when_none_is_late(percentile: float, queries: int) -> None:
    assert needed(0, percentile) == queries


@pytest.mark.parametrize("percentile", [0.9, 0.97, 0.99])
def test_queries_needed_agree_with_those_of_single_stream_when_one_is_late(percentile: float) -> None:
    assert needed(1, percentile) == queries_needed(percentile)


def test_queries_prove_a_percentile_when_the_same_share_of_more_is_late() -> None:
    found = enough(0.005, 0.99)
    assert found is not None
    assert needed(round(0.005 * found), 0.99) <= found
    assert enough(0.0, 0.99) == 459
    assert enough(0.01, 0.99) is None  # however many: the share is the bound's own


@pytest.mark.parametrize(
    ("samples", "late", "duration_ms", "reasons"),
    [
        (500, 0, 1000, ()),
        (500, 1, 1000, ("confidence",)),
        (500, 6, 1000, ("bound", "confidence")),
        (400, 0, 1000, ("queries", "confidence")),
        (500, 0, 900, ("duration",)),
    ],
)
def test_block_is_judged_by_loadgens_rules(
    samples: int, late: int, duration_ms: float, reasons: tuple[Reason, ...]
) -> None:
    assert judge(SERVER, samples, late, duration_ms, backlog=False) == reasons


def test_offline_is_judged_by_duration_and_queries_alone() -> None:
    assert judge(OFFLINE, 500, 500, 1000, backlog=False) == ()
    assert judge(OFFLINE, 400, 0, 900, backlog=False) == ("duration", "queries")


def test_advice_is_a_duration_when_the_queries_are_too_few() -> None:
    problems, advice = explain(_load(SERVER, [1.0] * 100), ("confidence",))
    assert problems == ["100 queries are too few for a p99 (0 over the bound)"]
    assert advice == ["at least 459 queries for a p99: min_duration_ms 1100"]


def test_advice_is_a_lower_rate_or_a_wider_bound_when_the_bound_is_missed() -> None:
    problems, advice = explain(_load(SERVER, [1.0] * 480 + [12.0] * 20), ("bound", "confidence"))
    assert problems == ["the p99 is 12 ms, the bound 10 ms"]
    assert advice == ["a rate below 500/s, or a bound above 12 ms"]


def test_advice_is_what_was_answered_when_a_backlog_ended_the_block() -> None:
    problems, advice = explain(_load(SERVER, [1.0] * 100 + [12.0] * 200), ("bound", "backlog"))
    assert problems == [
        "the p99 is 12 ms, the bound 10 ms so far: the block was ended, for the bound could no longer be met"
    ]
    assert advice == ["a rate below 300/s"]


def test_shed_requests_are_late_when_the_others_are_quick() -> None:
    load = _load(SERVER, [1.0] * 490, shed=10)
    assert (load.late(), load.requests, load.meets_bound()) == (10, 500, False)
    assert load.percentile_ms(0.5) == 1.0
    assert load.percentile_ms(0.99) == np.inf
    problems, advice = explain(load, ())  # whatever the generator says
    assert problems == ["10 of 500 requests were shed"]
    assert advice == ["a rate below 500/s; no bound is met with more than 0.01 of them shed"]


def test_advice_is_a_longest_duration_when_it_was_reached() -> None:
    problems, advice = explain(
        _load(dataclasses.replace(SERVER, rate_per_s=10, min_queries=600), [1.0] * 480), ("queries",)
    )
    assert problems == ["480 queries, min_queries is 600: max_duration_ms was reached"]
    assert advice == ["max_duration_ms 68000"]


def test_advice_names_the_refused_requests_when_offline_has_some() -> None:
    problems, advice = explain(_load(OFFLINE, [1.0] * 90, shed=10), ())
    assert problems == ["10 of 100 requests of 8 were refused: the server had too many"]
    assert advice == ["a concurrency below 4"]
