"""The split of the client's time, from what a server told of a target's blocks."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.bench import results, server_time
from pipeline.bench.document import ServerTime
from pipeline.bench.document import Target as Facts
from pipeline.bench.rounds import Entry, Loaded
from pipeline.bench.server_time import Asked
from pipeline.bench.targets import Target
from pipeline.measuring.load.plan import Load, Plan
from pipeline.measuring.load.search import Highest
from serving.client import monitoring
from serving.client.endpoint import Endpoint
from serving.client.monitoring import Told
from tests.pipeline.bench.test_rounds import settings


def told(requests: int, request_ms: float, runtime_ms: float | None = None) -> Told:
    return Told(monitoring.ServerTime(requests, request_ms, runtime_ms))


def test_means_are_of_all_blocks_by_their_requests() -> None:
    blocks = [Asked(told(10, 4.0, 3.0), 10, 40, 5.0), Asked(told(30, 2.0, 1.0), 30, 120, 3.0)]
    found, why = server_time.mean(blocks, one_by_one=False)
    assert why == ""
    assert found == ServerTime(client_ms=3.5, network_ms=1.0, server_ms=1.0, runtime_ms=1.5, requests=40)


def test_query_of_several_requests_is_compared_by_the_request() -> None:
    found, why = server_time.mean([Asked(told(317, 1.0, 0.5), 10, 317, 63.4)], one_by_one=True)
    assert why == ""
    assert found == ServerTime(client_ms=2.0, network_ms=1.0, server_ms=0.5, runtime_ms=0.5, requests=317)


def test_block_with_other_requests_than_its_own_does_not_count_and_is_named() -> None:
    # 36 single samples of a warm-up among 16 batches: their quick answers would make the rest look like the network
    mixed = Asked(told(52, (16 * 19 + 36 * 0.5) / 52), 16, 512, 20.0)
    found, why = server_time.mean([mixed], one_by_one=False)
    assert found is None
    assert why == (
        "the server does not tell its own time: it counted 52 requests where 16 were sent: others ask it too"
    )
    found, why = server_time.mean([mixed, Asked(told(16, 19.0), 16, 512, 20.0)], one_by_one=False)
    assert found is not None
    assert (found.network_ms, found.requests) == (pytest.approx(1.0), 16)
    assert why.startswith("the server's own time is that of 1 of 2 blocks: it counted 52 requests")


def test_means_are_of_the_same_blocks_on_both_sides_when_a_page_failed() -> None:
    blocks = [Asked(told(10, 4.0), 10, 10, 5.0), Asked(Told(None, "the page is gone"), 10, 10, 500.0)]
    found, why = server_time.mean(blocks, one_by_one=False)
    assert found is not None
    assert (found.client_ms, found.network_ms, found.requests) == (5.0, 1.0, 10)
    assert why == "the server's own time is that of 1 of 2 blocks: the page is gone"


def test_nothing_is_said_where_nobody_asked() -> None:
    assert server_time.mean([Asked(None, 10, 10, 5.0)], one_by_one=False) == (None, "")
    assert server_time.mean([Asked(Told(None, "the page is gone"), 10, 10, 5.0)] * 3, one_by_one=False) == (
        None, "the server does not tell its own time: the page is gone"
    )  # fmt: skip


def _trial(rate: float, valid: bool, requests: int) -> Load:
    return Load(
        Plan("Server", 1, rate, 10.0, 1, 0.99, 10, 60_000, 100), "a generator", np.full(requests, 2_000_000), 0, 1.0,
        requests / 1.0, valid, (), (), client_cores=0.1, request_ms=1.5, told=told(requests, 1.0, 0.5),
    )  # fmt: skip


def test_servers_time_of_a_search_is_of_the_blocks_at_the_rates_found() -> None:
    searches = [
        Highest(rate, 4 * rate, tuple(_trial(one, one <= rate, int(one)) for one in (rate / 2, rate, 4 * rate)), "", "")
        for rate in (100.0, 110.0, 120.0)
    ]
    target = Target("m", "m", Endpoint("grpc://h:1", "m", None, None, 1.0))
    entry = Entry(target, Facts(name="m", runtime="served", protocol="grpc"))
    entry.loads.append(Loaded("Server", 1, searches=searches))
    (found,) = results.document([entry], settings(), target).targets[0].results
    assert found.server is not None
    assert found.server.requests == found.queries == 330
    assert found.server.network_ms == pytest.approx(0.5)
