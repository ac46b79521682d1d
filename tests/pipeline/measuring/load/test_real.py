"""Load on real models: in LiteRT, in ONNX Runtime, and behind the embedded server over both protocols."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from pipeline.formats import onnx, tflite
from pipeline.isolate import Child
from pipeline.measuring.load import run, search
from pipeline.measuring.load.plan import Plan
from pipeline.measuring.load.workers import Workers
from pipeline.predictor import Predictor
from serving import layout
from serving.client import endpoint, monitoring
from serving.client.endpoint import Endpoint
from serving.config import BatchingConfig, Protocol
from tests.pipeline.formats import tiny
from tests.serving.server.running import Running

pytestmark = pytest.mark.alone

SAMPLES = tiny.samples(50, seed=4)
KINDS = ("tflite", "onnx", "grpc", "rest")
PROTOCOLS: tuple[Protocol, ...] = ("grpc", "rest")
# wide bounds: what is tested is that the numbers hold together, and the machine may be busy
SERVER = Plan("Server", 4, 100, 2000, 1, 0.9, 200, 30_000, 60)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("tiny")
    with Child(deadline_s=120, memory_mb=None, threads=1, log=folder / "log.txt") as child:
        child.call(tiny.write_all, folder)
        yield folder


@pytest.fixture(scope="module")
def server(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    work = tmp_path_factory.mktemp("served")
    deployment = layout.Deployment("tiny", {1: files / "saved_model" / "1"}, 1, 1, monitoring=True)
    running = Running(work, layout.write(deployment, work, str(work)))
    try:
        running.wait_until_ready()
        yield running
    finally:
        running.process.kill()
        running.process.wait()


@pytest.fixture
def open_one(request: pytest.FixtureRequest, files: Path) -> Callable[[str], Callable[[], Predictor]]:
    """Return what opens a predictor of a kind."""

    def of(kind: str) -> Callable[[], Predictor]:
        if kind == "tflite":
            return lambda: tflite.load(files / "float32.tflite", tiny.SPEC, 1)
        if kind == "onnx":
            return lambda: onnx.load(files / "float32.onnx", tiny.SPEC, 1)
        server: Running = request.getfixturevalue("server")
        address = f"grpc://127.0.0.1:{server.port}" if kind == "grpc" else f"http://127.0.0.1:{server.rest_port}"
        return lambda: endpoint.connect(Endpoint(address, "tiny", None, None, 30), tiny.SPEC)

    return of


Opens = Callable[[str], Callable[[], Predictor]]


@pytest.mark.parametrize("kind", KINDS)
def test_server_and_offline_are_measured_when_the_model_is_real(open_one: Opens, kind: str) -> None:
    with Workers(kind, open_one(kind), 4, SAMPLES) as workers:
        arriving = run.block(workers, SERVER)
        at_once = run.block(workers, Plan("Offline", 4, None, None, 8, 0.9, 100, 30_000, 64))
    assert arriving.shed == at_once.shed == 0
    assert arriving.latencies_ns.size >= 60
    assert arriving.latencies_ns[0] > 0
    assert 0 < arriving.request_ms <= arriving.latencies_ns.mean() / 1e6
    assert arriving.throughput_per_s == pytest.approx(100, rel=0.5)
    assert at_once.latencies_ns.size * 8 >= 64
    assert at_once.throughput_per_s > 0
    assert at_once.request_ms == pytest.approx(at_once.latencies_ns.mean() / 1e6)


@pytest.mark.parametrize("concurrency", [1, 64])
@pytest.mark.parametrize("kind", ["tflite", "grpc"])
def test_every_concurrency_is_measured_when_the_model_is_real(open_one: Opens, kind: str, concurrency: int) -> None:
    plan = Plan("Server", concurrency, 200, 5000, 1, 0.9, 200, 30_000, 60)
    load = run.run(open_one(kind), SAMPLES, plan)
    assert load.requests >= 60
    assert load.latencies_ns.size + load.shed == load.requests


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_servers_own_time_is_told_for_the_requests_of_a_block(
    open_one: Opens, server: Running, protocol: Protocol
) -> None:
    url = f"http://127.0.0.1:{server.rest_port}{monitoring.PATH}"
    with Workers(protocol, open_one(protocol), 4, SAMPLES) as workers:
        before, why = monitoring.read(url, "tiny", protocol)
        assert before is not None, why
        load = run.block(workers, SERVER)
        after, why = monitoring.read(url, "tiny", protocol)
        assert after is not None, why
    told, why = monitoring.between(before, after)
    assert told is not None, why
    assert told.requests == load.requests + 4  # each worker asks once before a block
    assert told.runtime_ms is not None
    assert 0 < told.runtime_ms < told.request_ms < load.request_ms * 1.5
    shares, why = monitoring.shares(max(load.request_ms, told.request_ms), told)
    assert shares is not None, why
    assert shares.server_ms is not None
    assert shares.network_ms + shares.server_ms + shares.runtime_ms == pytest.approx(
        max(load.request_ms, told.request_ms)
    )


def test_requests_that_a_full_batching_queue_refuses_are_counted(files: Path, tmp_path: Path) -> None:
    queue = BatchingConfig(max_batch_size=1, batch_timeout_micros=0, num_batch_threads=1, max_enqueued_batches=1)
    deployment = layout.Deployment("tiny", {1: files / "saved_model" / "1"}, 1, 1, batching=queue)
    server = Running(tmp_path / "logs", layout.write(deployment, tmp_path, str(tmp_path)))
    try:
        server.wait_until_ready()
        for address in (f"grpc://127.0.0.1:{server.port}", f"http://127.0.0.1:{server.rest_port}"):
            place = Endpoint(address, "tiny", None, None, 30)
            plan = Plan("Offline", 16, None, None, 1, 0.9, 50, 30_000, 400)
            load = run.run(partial(endpoint.connect, place, tiny.SPEC), SAMPLES, plan)
            assert load.shed > 0
            assert load.latencies_ns.size + load.shed == load.requests
            assert not load.valid
            assert f"{load.shed} of {load.requests} requests of 1 were refused" in load.problems[-1]
        assert server.process.poll() is None
    finally:
        server.process.kill()
        server.process.wait()


def test_highest_rate_is_found_when_the_model_is_real(open_one: Opens) -> None:
    plan = Plan("Server", 2, None, 30, 1, 0.9, 200, 20_000, 100)
    with Workers("tiny", open_one("tflite"), 2, SAMPLES) as workers:
        found = search.highest_rate(workers, plan, precision=0.3)
    assert found.rate_per_s is not None, found.problem
    assert found.best is not None
    assert found.best.meets_bound()
    assert found.missed_per_s is not None
    assert found.missed_per_s <= found.rate_per_s * 1.3
