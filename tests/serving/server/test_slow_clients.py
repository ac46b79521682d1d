"""Slow, half-open and vanishing clients leave the server answering others; the 500 are in tests/benchmarks."""

from __future__ import annotations

import psutil

from tests.benchmarks.bad_clients import GRPC, REST
from tests.benchmarks.slow_clients import measure
from tests.serving.server.running import Running


def test_a_good_client_is_answered_beside_bad_ones_of_every_kind(server: Running) -> None:
    count = 6 * (len(REST) + len(GRPC))
    before = psutil.Process(server.process.pid).num_threads()
    seen = measure(server, count, requests=40, plus=3.0)
    assert len(seen) == 3
    for when, one in seen.items():
        assert one.failed == 0, when
        assert [len(seconds) for seconds in one.seconds.values()] == [40, 40]
        assert max(map(max, one.seconds.values())) < 30, when
        assert one.threads < before + count / 4, f"{when}: a thread for a client that does nothing"
    assert "Traceback" not in server.err
