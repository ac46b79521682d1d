from __future__ import annotations

import ctypes
import dataclasses
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from pipeline.errors import InputError, RunError, UnavailableError
from pipeline.measuring import conditions
from pipeline.measuring.load import run
from pipeline.measuring.load.plan import Plan
from pipeline.measuring.load.workers import Workers
from pipeline.predictor import Predictor, Samples
from serving.client import errors
from serving.client.monitoring import Page, Watch

pytestmark = pytest.mark.alone

SAMPLES = np.random.default_rng(0).random((20, 4, 4, 1)).astype(np.float32)
# a tenth of what four workers of 1 ms can do, and a p90, of which one may be late in 64: busy machines have to pass
SERVER = Plan("Server", 4, 400, 500, 1, 0.9, 200, 20_000, 120)
OFFLINE = Plan("Offline", 4, None, None, 1, 0.99, 200, 20_000, 50)


class Asleep:
    """Answers ones after some time, in which other threads run; notes who asked."""

    def __init__(self, milliseconds: float, then: Callable[[int], None] | None = None) -> None:
        self.seconds, self.then = milliseconds / 1000, then
        self.calls = 0
        self.sizes: set[int] = set()
        self.opened_by, self.askers = threading.get_ident(), set[int]()
        self.closed_by: int | None = None

    def predict(self, batch: Samples) -> dict[str, np.ndarray]:
        self.calls += 1
        self.sizes.add(len(batch))
        self.askers.add(threading.get_ident())
        if self.then is not None:
            self.then(self.calls)
        time.sleep(self.seconds)
        return {"logits": np.ones((len(batch), 3), np.float32)}

    def close(self) -> None:
        self.closed_by = threading.get_ident()


@pytest.mark.usefixtures("generator")
def test_each_worker_has_a_predictor_of_its_own_when_a_block_runs() -> None:
    made: list[Asleep] = []

    def open_one() -> Predictor:
        made.append(Asleep(1))
        return made[-1]

    load = run.run(open_one, SAMPLES, SERVER)
    assert len(made) == 4
    assert load.requests >= 120
    for one in made:
        assert one.askers == {one.opened_by} == {one.closed_by}
        assert one.calls > 10


def test_server_counts_the_wait_for_a_worker_when_one_is_too_few(generator: str) -> None:
    plan = dataclasses.replace(SERVER, concurrency=1, rate_per_s=350, min_duration_ms=1000)
    load = run.run(lambda: Asleep(2), SAMPLES, plan)
    assert load.generator.startswith(generator)
    assert load.latencies_ns.tolist() == sorted(load.latencies_ns.tolist())
    assert load.percentile_ms(0.1) >= 2
    # at a load of 70 % and more, a sample waits for 1.2 others on average, and one in ten for 3
    assert load.percentile_ms(0.9) > 5
    assert load.throughput_per_s == pytest.approx(load.requests / load.seconds)
    assert load.histogram().merge(load.histogram()).counts[0][1] == 2 * load.histogram().counts[0][1]


@pytest.mark.usefixtures("generator")
def test_block_is_valid_when_the_advice_is_followed() -> None:
    short = dataclasses.replace(SERVER, min_duration_ms=20, min_queries=1)
    with Workers("asleep", lambda: Asleep(0.5), 4, SAMPLES) as workers:
        load = run.block(workers, short)
        assert not load.valid
        (problem,), (advice,) = load.problems, load.advice
        assert "queries are too few for a p90" in problem
        found = re.fullmatch(r"at least \d+ queries for a p90: min_duration_ms (\d+)", advice)
        assert found
        again = run.block(workers, dataclasses.replace(short, min_duration_ms=int(found[1])))
    assert again.valid, again.problems
    assert (again.problems, again.advice) == ((), ())


@pytest.mark.usefixtures("generator")
def test_block_ends_early_when_its_bound_can_no_longer_be_met() -> None:
    plan = Plan("Server", 1, 2000, 20, 1, 0.99, 10_000, 20_000, 459)
    load = run.run(lambda: Asleep(2), SAMPLES, plan)
    assert load.seconds < 5
    assert not load.valid
    assert not load.meets_bound()
    assert "the block was ended, for the bound could no longer be met" in load.problems[0]
    rate = re.fullmatch(r"a rate below (\d+\.?\d*)/s", load.advice[0])
    assert rate
    assert float(rate[1]) <= 500


@pytest.mark.usefixtures("generator")
def test_refused_requests_are_late_and_counted_when_the_server_has_too_many() -> None:
    refusing = threading.Event()

    def refuse(call: int) -> None:
        if refusing.is_set() and call % 5 == 0:
            raise errors.of_code("grpc://here:1", "RESOURCE_EXHAUSTED", "Server Threadpool Exhausted")

    with Workers("asleep", lambda: Asleep(1, refuse), 4, SAMPLES) as workers:
        refusing.set()
        load = run.block(workers, SERVER)
    assert load.shed == pytest.approx(load.requests / 5, rel=0.6)
    assert load.latencies_ns.size + load.shed == load.requests
    assert not load.valid
    assert not load.meets_bound()
    assert f"{load.shed} of {load.requests} requests were shed" in load.problems[0]
    assert "no bound is met with more than 0.1 of them shed" in load.advice[0]


@pytest.mark.usefixtures("generator")
def test_few_refused_requests_leave_a_block_valid_when_the_percentile_allows_them() -> None:
    refused: list[int] = []

    def refuse(call: int) -> None:
        if call == 40 and not refused:
            refused.append(call)
            raise errors.of_code("grpc://here:1", "UNAVAILABLE", "The batch scheduling queue to which this ... is full")

    load = run.run(lambda: Asleep(1, refuse), SAMPLES, SERVER)
    assert (load.shed, load.late()) == (1, 1)
    assert load.valid, load.problems


@pytest.mark.usefixtures("generator")
@pytest.mark.parametrize("plan", [SERVER, OFFLINE], ids=lambda plan: plan.scenario)
def test_block_ends_with_the_error_and_another_runs_when_a_request_fails(plan: Plan) -> None:
    def fail(call: int) -> None:
        if call == 30:
            raise UnavailableError("grpc://here:1 does not answer", code="UNAVAILABLE", found="connection refused")

    began = time.monotonic()
    long = dataclasses.replace(plan, min_duration_ms=10_000, bound_ms=plan.bound_ms and 20)
    with pytest.raises(UnavailableError, match="does not answer"):
        run.run(lambda: Asleep(1, fail), SAMPLES, long)
    assert time.monotonic() - began < 8
    assert run.run(lambda: Asleep(1), SAMPLES, plan).requests > 0  # LoadGen aborts the process where it was left so


@pytest.mark.skipif(threading.current_thread() is not threading.main_thread(), reason="signals reach the main thread")
@pytest.mark.usefixtures("generator")
@pytest.mark.parametrize("plan", [SERVER, OFFLINE], ids=lambda plan: plan.scenario)
def test_block_ends_in_order_when_the_user_presses_ctrl_c(plan: Plan) -> None:
    made: list[Asleep] = []

    def interrupt(call: int) -> None:
        if call == 30:
            os.kill(os.getpid(), signal.SIGINT)

    def open_one() -> Predictor:
        made.append(Asleep(1, None if made else interrupt))
        return made[-1]

    with pytest.raises(KeyboardInterrupt):
        run.run(open_one, SAMPLES, dataclasses.replace(plan, bound_ms=plan.bound_ms and 20))
    assert all(one.closed_by is not None for one in made)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("load ")]
    assert run.run(lambda: Asleep(1), SAMPLES, plan).requests > 0


@pytest.mark.usefixtures("generator")
def test_offline_keeps_every_worker_busy_when_requests_have_several_samples() -> None:
    made: list[Asleep] = []

    def open_one() -> Predictor:
        made.append(Asleep(4))
        return made[-1]

    load = run.run(open_one, SAMPLES, dataclasses.replace(OFFLINE, batch=8))
    assert load.latencies_ns.size * 8 == pytest.approx(load.throughput_per_s * load.seconds)
    assert load.percentile_ms(0.5) >= 4
    # requests in flight on average (Little's law), of the 4 that there can be
    assert 2 < load.throughput_per_s / 8 * load.request_ms / 1000 <= 4.01
    assert all(one.sizes == {1, 8} for one in made)  # 1 in the warm-up; no request is smaller than the others


@pytest.mark.usefixtures("generator")
def test_offline_is_no_longer_than_allowed_when_it_lacks_samples_for_it() -> None:
    load = run.run(lambda: Asleep(10), SAMPLES, dataclasses.replace(OFFLINE, min_queries=10_000, max_duration_ms=400))
    assert load.requests < 400
    assert not load.valid
    assert "min_queries is 10000: max_duration_ms allows no more" in load.problems[-1]
    assert re.fullmatch(r"max_duration_ms \d{5}", load.advice[-1])


@pytest.mark.usefixtures("generator")
def test_offline_is_made_again_when_the_rate_was_too_low_for_its_duration() -> None:
    with Workers("asleep", lambda: Asleep(1), 4, SAMPLES) as workers:
        workers.learned(1, 10)
        load = run.block(workers, dataclasses.replace(OFFLINE, min_duration_ms=100, min_queries=1))
        assert load.requests > 1.2 * 10 * 0.1 + 10
        assert workers.rate_per_s(1, threading.Event()) == load.throughput_per_s


class Counting(Watch):
    """Reads how often predictors were asked, as a server would count it."""

    def __init__(self, made: list[Asleep]) -> None:
        super().__init__("http://nowhere", "m", "grpc")
        self.made, self.seen = made, list[int]()

    def _page(self) -> Page:
        self.seen.append(sum(one.calls for one in self.made))
        return Page(self.seen[-1], float(self.seen[-1]), 0, 0.0)


@pytest.mark.usefixtures("generator")
@pytest.mark.parametrize("plan", [SERVER, dataclasses.replace(OFFLINE, batch=4, min_duration_ms=100)])
def test_servers_counters_are_those_of_the_blocks_own_requests(plan: Plan) -> None:
    made: list[Asleep] = []

    def open_one() -> Predictor:
        made.append(Asleep(1))
        return made[-1]

    with Workers("asleep", open_one, 4, SAMPLES, watch=Counting(made)) as workers:
        workers.learned(4, 10)  # too low: Offline is made again
        load = run.block(workers, plan)
        assert load.told is not None
        assert load.told.time is not None
        assert load.told.time.requests == load.requests < sum(one.calls for one in made)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux' timers have the slack")
def test_sleeps_of_the_generators_thread_alone_end_in_time_when_a_block_runs() -> None:
    get_timer_slack = 30  # linux/prctl.h
    slack: list[int] = []

    def look() -> None:
        conditions.sharp_sleep()
        slack.append(ctypes.CDLL(None).prctl(get_timer_slack, 0, 0, 0, 0))

    before = ctypes.CDLL(None).prctl(get_timer_slack, 0, 0, 0, 0)
    conditions.in_thread(look, threading.Event())
    assert slack == [1]
    assert ctypes.CDLL(None).prctl(get_timer_slack, 0, 0, 0, 0) == before


def test_schedule_that_is_not_loadgens_is_noticed_when_the_numbers_are_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("mlperf_loadgen", reason="mlperf_loadgen is not installed")
    real = run.arrivals
    monkeypatch.setattr(run, "arrivals", lambda rate, seed, count: real(rate, seed + 1, count))
    with pytest.raises(RunError, match="numbers for the model are not ours"):
        run.run(lambda: Asleep(1), SAMPLES, SERVER)


def test_workers_tell_the_error_when_a_predictor_cannot_be_opened() -> None:
    made: list[Asleep] = []

    def open_one() -> Predictor:
        if len(made) == 2:
            raise RunError("no third interpreter", todo="have one")
        made.append(Asleep(0))
        return made[-1]

    with pytest.raises(RunError, match="no third interpreter"):
        Workers("asleep", open_one, 4, SAMPLES)
    assert all(one.closed_by == one.opened_by for one in made)


@pytest.mark.parametrize("concurrency", [0, 65])
def test_workers_are_refused_when_they_are_none_or_too_many(concurrency: int) -> None:
    with pytest.raises(InputError) as caught:
        Workers("asleep", lambda: Asleep(0), concurrency, SAMPLES)
    assert f"expected: a concurrency of 1 to 64\n  found: {concurrency}" in str(caught.value)


def test_block_wants_the_plans_workers_when_there_are_others() -> None:
    with (
        Workers("asleep", lambda: Asleep(0), 2, SAMPLES) as workers,
        pytest.raises(RunError, match="the workers are not the plan's"),
    ):
        run.block(workers, SERVER)


@pytest.mark.usefixtures("generator")
def test_latency_at_a_rate_is_told_when_no_bound_is_given() -> None:
    plan = dataclasses.replace(SERVER, bound_ms=None)
    load = run.run(lambda: Asleep(1), SAMPLES, plan)
    assert load.valid, load.problems
    assert load.requests >= 120
    assert 1 <= load.percentile_ms(0.9) < 500
    assert load.late() == 0


@pytest.mark.usefixtures("generator")
def test_block_without_a_bound_is_invalid_when_answers_do_not_keep_up_or_are_refused() -> None:
    load = run.run(
        lambda: Asleep(2), SAMPLES, dataclasses.replace(SERVER, concurrency=1, rate_per_s=2000, bound_ms=None)
    )
    assert not load.valid
    assert "were answered of 2000/s that arrived: latencies grow for as long as samples arrive" in load.problems[0]
    refusing = threading.Event()

    def refuse(call: int) -> None:
        if refusing.is_set() and call % 2:
            raise errors.of_code("grpc://here:1", "RESOURCE_EXHAUSTED", "Server Threadpool Exhausted")

    with Workers("asleep", lambda: Asleep(1, refuse), 4, SAMPLES) as workers:
        refusing.set()
        load = run.block(workers, dataclasses.replace(SERVER, bound_ms=None))
    assert load.shed == load.late() > 0
    assert any(f"{load.shed} of {load.requests} requests were shed" in problem for problem in load.problems)
