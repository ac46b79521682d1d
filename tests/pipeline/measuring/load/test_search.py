from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from pipeline.measuring.load import search
from pipeline.measuring.load.arrivals import arrivals
from pipeline.measuring.load.plan import Load, Plan
from pipeline.measuring.load.search import Highest
from pipeline.measuring.load.verdict import explain, judge
from pipeline.measuring.load.workers import Workers
from tests.pipeline.measuring.load.test_run import SAMPLES, Asleep

SERVICE_MS = 2.0
PLAN = Plan("Server", 1, None, 10, 1, 0.99, 10_000, 60_000, 20_000)

SHORT = dataclasses.replace(PLAN, min_queries=2_000)


def _queue(rate: float, plan: Plan = PLAN, cores: float = 0.1) -> Load:
    """Answer as one server does that takes the same time for every request: M/D/1."""
    due = arrivals(rate, plan.seed, plan.min_queries) / 1e6
    free, latencies = 0.0, []
    for arrival in due:
        free = max(free, arrival) + SERVICE_MS
        latencies.append(free - arrival)
    seconds = free / 1000
    load = Load(
        plan=dataclasses.replace(plan, rate_per_s=rate),
        generator="a queue",
        latencies_ns=(np.sort(latencies) * 1e6).astype(np.int64),
        shed=0,
        seconds=seconds,
        throughput_per_s=len(due) / seconds,
        valid=False,
        problems=(),
        advice=(),
        client_cores=cores,
    )
    reasons = judge(load.plan, load.requests, load.late(), 20_000, backlog=False)
    problems, advice = explain(load, reasons)
    return dataclasses.replace(load, valid=not reasons, problems=tuple(problems), advice=tuple(advice))


def _rates(found: Highest) -> list[float]:
    return [one.plan.rate_per_s or 0 for one in found.trials]


@pytest.mark.parametrize("start", [10.0, 200.0, 390.0, 5000.0])
def test_search_finds_the_rate_of_a_queue_wherever_it_starts(start: float) -> None:
    found = search.search(_queue, start, precision=0.02)
    assert found.rate_per_s is not None
    assert found.missed_per_s is not None
    assert found.rate_per_s < found.missed_per_s <= found.rate_per_s * 1.02
    assert (_queue(found.rate_per_s).valid, _queue(found.missed_per_s).valid) == (True, False)
    # in an M/D/1 queue at a load of 0.563, 1 % wait for more than 4 services: C exp(-4 d) = 0.01 with
    # 0.563 (exp(d) - 1) = d and C = (1 - 0.563) / (0.563 exp(d) - 1)
    assert found.rate_per_s == pytest.approx(0.563 / SERVICE_MS * 1000, rel=0.06)
    assert len(found.trials) < 16
    assert found.best is not None
    assert found.best.plan.rate_per_s == found.rate_per_s
    assert (found.problem, found.client_limit) == ("", "")


def test_search_halves_what_is_between_when_it_has_a_met_and_a_missed_rate() -> None:
    rates = _rates(search.search(_queue, 100))
    assert rates[:3] == [100, 200, 400]
    assert rates[3] == pytest.approx(math.sqrt(200 * 400))


def test_search_goes_down_by_what_was_answered_when_it_starts_too_high() -> None:
    first, second = _rates(search.search(_queue, 800))[:2]
    assert (first, second) == (800, 400)
    high = search.search(_queue, 50_000)
    assert _rates(high)[1] == pytest.approx(0.9 * 500, rel=0.01)


def test_search_ends_at_once_when_a_request_alone_misses_the_bound() -> None:
    found = search.search(lambda rate: _queue(rate, dataclasses.replace(PLAN, bound_ms=1)), 100)
    assert (found.rate_per_s, found.best, found.missed_per_s) == (None, None, 100)
    assert len(found.trials) == 1
    assert found.problem.startswith("not even 100/s is valid: the p99 is ")
    assert found.problem.endswith("the bound 1 ms")
    (advice,) = found.advice  # no rate: none was given, and lower ones were not worth a trial
    assert advice.startswith("a bound above ")


def test_search_says_so_when_even_the_lowest_rate_misses_the_bound() -> None:
    def sometimes_late(rate: float) -> Load:
        load = _queue(min(rate, 400), PLAN)
        latencies = load.latencies_ns.copy()
        latencies[-1000:] = 20_000_000
        problem, advice = explain(dataclasses.replace(load, latencies_ns=latencies), ("bound",))
        plan = dataclasses.replace(PLAN, rate_per_s=rate)
        return dataclasses.replace(load, plan=plan, valid=False, problems=tuple(problem), advice=tuple(advice))

    found = search.search(sometimes_late, 200)
    assert found.rate_per_s is None
    assert found.missed_per_s == pytest.approx(200 / 16, rel=0.1)
    assert found.problem.startswith("not even 12.")
    assert "is valid: the p99 is 20 ms, the bound 10 ms" in found.problem


def test_search_says_so_when_no_rate_is_missed() -> None:
    met = _queue(100)

    def never(rate: float) -> Load:
        return dataclasses.replace(met, valid=True, plan=dataclasses.replace(PLAN, rate_per_s=rate))

    found = search.search(never, 100)
    assert found.missed_per_s is None
    assert found.problem.startswith("no rate was missed up to ")


@pytest.mark.parametrize(("client", "cores", "says"), [(True, 0.95, True), (True, 0.3, False), (False, 0.95, False)])
def test_search_says_when_the_client_is_the_limit(client: bool, cores: float, says: bool) -> None:
    found = search.search(lambda rate: _queue(rate, SHORT, cores), 200, client=client)
    assert bool(found.client_limit) == says
    if says:
        assert found.client_limit.startswith(f"the client took 0.95 cores at {found.missed_per_s:.4g}/s")


@pytest.mark.usefixtures("generator")
def test_highest_rate_is_near_what_the_workers_can_answer_when_the_bound_is_wide() -> None:
    plan = Plan("Server", 2, None, 60, 1, 0.9, 300, 20_000, 100)
    with Workers("asleep", lambda: Asleep(10), 2, SAMPLES) as workers:
        found = search.highest_rate(workers, plan, precision=0.15)
    assert found.rate_per_s is not None
    assert found.rate_per_s < 220  # two that sleep for 10 ms answer 200/s at most, and less on a busy machine
    assert found.missed_per_s is not None
    assert found.rate_per_s < found.missed_per_s <= 1.15 * found.rate_per_s
    assert found.best is not None
    assert found.best.valid
    assert found.best.throughput_per_s > 0.5 * found.rate_per_s  # what arrived was answered
    assert found.best.percentile_ms(0.9) <= 60
    # a backlog has the time to pass the bound
    assert all(one.plan.min_duration_ms == 1200 for one in found.trials)


def test_trial_is_made_again_with_more_queries_when_it_had_too_few_to_be_sure(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def block(_: object, plan: Plan) -> Load:
        asked.append(plan.min_queries)
        latencies = np.full(plan.min_queries, 1_000_000)
        latencies[-plan.min_queries // 250 :] = 11_000_000  # one in 250 is late: 460 are too few to be sure
        return dataclasses.replace(_queue(100, plan), plan=plan, latencies_ns=latencies, valid=len(asked) == 2)

    monkeypatch.setattr(search.run, "block", block)
    plan = dataclasses.replace(PLAN, rate_per_s=1000, min_queries=500)
    with Workers("asleep", lambda: Asleep(0), 1, SAMPLES) as workers:
        assert search.trial(workers, plan).valid
    assert asked == [500, asked[1]]
    assert 500 < asked[1] <= 2500
