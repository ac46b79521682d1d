"""Served models behind a real server: what is the server's in every scenario, and what takes batches."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipeline.bench.document import Bench
from pipeline.bench.targets import Target
from pipeline.isolate import Child
from serving import layout
from serving.client import monitoring
from serving.client.endpoint import Endpoint
from tests.pipeline.bench import models
from tests.pipeline.bench.test_rounds import child as child
from tests.pipeline.bench.test_rounds import measured, settings
from tests.serving.server.running import Running

LITE, SAVED, FIXED = 1, 2, 3  # versions


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, child: Child) -> Iterator[Running]:
    work = tmp_path_factory.mktemp("served")
    versions = {
        LITE: child.call(models.lite, work / "dense.tflite", int8=True),
        SAVED: child.call(models.saved_model, work / "saved"),
        FIXED: child.call(models.saved_model, work / "fixed", batch=1),
    }
    flags = layout.write(layout.Deployment("m", versions, 1, 1, monitoring=True), work / "tree", str(work / "tree"))
    running = Running(work / "logs", flags)
    try:
        running.wait_until_ready()
        yield running
    finally:
        running.process.kill()
        running.process.wait()


def target(name: str, address: str, version: int) -> Target:
    return Target(name, name, Endpoint(address, "m", version, None, 30.0))


@pytest.fixture(scope="module")
def found(server: Running, child: Child, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    over_grpc, over_rest = f"grpc://127.0.0.1:{server.port}", f"http://127.0.0.1:{server.rest_port}"
    targets = [
        target("saved", over_grpc, SAVED), target("lite", over_grpc, LITE), target("lite over REST", over_rest, LITE),
        target("fixed", over_grpc, FIXED),
    ]  # fmt: skip
    wanted = settings(
        scenarios=("multi-stream", "offline"), concurrency=(2,),
        metrics=f"http://127.0.0.1:{server.rest_port}{monitoring.PATH}",
    )  # fmt: skip
    return measured(child, targets, wanted, tmp_path_factory.mktemp("bench"))[0]


def test_servers_time_is_of_the_requests_of_the_blocks_alone(found: Bench) -> None:
    assert [target.error for target in found.targets] == [None] * 4
    for target in found.targets:
        assert [one.scenario for one in target.results] == ["MultiStream", "Offline"]
        for one in target.results:
            assert one.server is not None, (target.notes, one.scenario)
            # the warm-up and the calibration are none of them; the last request of Offline may have fewer samples
            if target.name == "fixed":
                assert (one.queries - one.blocks) * one.batch < one.server.requests <= one.queries * one.batch
            else:
                assert one.server.requests == one.queries
            assert 0 < one.server.request_ms < one.server.client_ms


def test_version_that_answers_is_told(found: Bench) -> None:
    assert [target.version for target in found.targets] == [SAVED, LITE, LITE, FIXED]
    assert [target.place for target in found.targets[1:3]] == [
        f"served over gRPC, version {LITE}", f"served over REST, version {LITE}"
    ]  # fmt: skip


def test_tflite_behind_a_server_that_tells_a_batch_of_one_is_asked_in_batches(found: Bench) -> None:
    saved, lite, over_rest, fixed = found.targets
    assert lite.inputs == ("x int8 [1, 4]",)
    for one in (saved, lite, over_rest):
        assert not any("it takes no batch" in note for note in one.notes)
    assert fixed.inputs == ("numbers float32 [1, 4]",)
    assert "it takes no batch: one of 4 is asked as 4 requests, one after the other" in fixed.notes
