"""The servers of a search and their clients, behind the real embedded server."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from pipeline.batching import servers
from pipeline.batching.candidates import NONE, Candidate
from pipeline.batching.servers import Servers
from pipeline.events import Event
from pipeline.isolate import Child
from serving import warmup
from serving.config import BatchingConfig, ServingConfig
from serving.target import embedded
from tests.pipeline.batching import wide

ONE, OTHER = (Candidate(BatchingConfig(max_batch_size=size)) for size in (2, 4))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    with Child(deadline_s=120, memory_mb=None, threads=1, log=folder / "log.txt") as child:
        child.call(wide.write, folder, width=8)
    return folder / "1"


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def search(model: Path, events: list[Event], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Servers]:
    """Servers with room for two at a time."""
    monkeypatch.setattr(servers, "_room", lambda _: 2)
    config = ServingConfig(target="embedded")
    with Servers(embedded.find(config), model, config, "grpc", None, 500.0, 0.2, tmp_path, events.append) as started:
        monkeypatch.setattr(started, "_shortest_ms", 300)
        yield started


def clients() -> tuple[set[Candidate], int]:
    """Return in the measuring process whose workers there are, and the number of their threads."""
    return set(servers._workers), sum(one.name.startswith("load ") for one in threading.enumerate())


def kill_server_of(search: Servers, candidate: Candidate) -> None:
    """End the server of a candidate from outside, as a system does that is short of memory."""
    server = search._supplies[candidate]._server
    assert server is not None
    port = int(server.addresses["grpc"].rpartition(":")[2])
    (process,) = (
        one for one in psutil.Process().children(recursive=True)
        if any(link.status == psutil.CONN_LISTEN and link.laddr.port == port for link in one.net_connections("tcp"))
    )  # fmt: skip
    process.kill()
    while server.death() is None:
        pass


def batches(model: Path) -> list[int]:
    """Return the samples of a model's warm-up requests."""
    return [warmup.batch(record) for record in warmup.read(model)]


def test_candidates_server_goes_without_the_warm_up_requests_that_it_could_not_load(
    model: Path, events: list[Event], tmp_path: Path
) -> None:
    warmed = shutil.copytree(model, tmp_path / "warmed")
    warmup.write(warmed, {"features": np.zeros((1, 8), np.float32)}, (1, 32))
    config = ServingConfig(target="embedded")
    work = tmp_path / "work"
    with Servers(embedded.find(config), warmed, config, "grpc", None, 500.0, 0.2, work, events.append) as search:
        assert search.measure(OTHER, 30, 1).requests > 0
        assert search.left_out(OTHER) == (32,)
        assert search.left_out(NONE) == ()
        assert batches(work / "at-most-4") == [1]
    assert batches(warmed) == [1, 32]
    assert "warm-up requests of 32 samples were left out: with max_batch_size 4 no server loads" in str(events)


@pytest.mark.long  # starts four servers
def test_workers_of_a_server_that_ended_are_ended_and_it_is_not_started_to_say_goodbye(
    search: Servers, events: list[Event]
) -> None:
    search.measure(NONE, 30, 1)
    search.measure(ONE, 30, 1)
    there, threads = search._child.call(clients)
    assert there == {NONE, ONE}
    assert threads == 2 * search.concurrency
    kill_server_of(search, NONE)
    assert search.measure(NONE, 30, 2).requests > 0  # at another port
    assert search._child.call(clients) == ({NONE, ONE}, threads)
    kill_server_of(search, ONE)
    search.measure(OTHER, 30, 3)  # whose server needs the place of the dead one
    assert search._child.call(clients) == ({NONE, OTHER}, threads)
    assert sum("it is started again" in str(event) for event in events) == 1
