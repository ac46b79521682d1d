"""`modelmill bench` as a user calls it: files in three runtimes, a real server over both protocols, an image."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.bench import document
from serving.config import ServingConfig
from serving.layout import Deployment
from serving.target import embedded
from serving.target.interface import Server
from tests.end_to_end.command import modelmill
from tests.pipeline.bench import models
from tests.serving.target.docker_images import baked, engine, needs_engine
from tests.serving.target.docker_model import available, half_plus_two

pytestmark = pytest.mark.alone

BRIEFLY = ("--duration", "0.01", "--batch", "4")


@pytest.fixture(scope="module")
def cwd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def half(cwd: Path) -> Deployment:
    """Return a model that is served as half."""
    made = half_plus_two(cwd / "half")
    return Deployment(made.name, made.versions, 1, 1, monitoring=True)


@pytest.fixture(scope="module")
def server(cwd: Path, half: Deployment) -> Iterator[Server]:
    target = embedded.find(ServingConfig(target="embedded"))
    (cwd / "served").mkdir()
    with target.start(half, cwd / "served") as running:
        assert available(running, 180) == [3]
        yield running


@pytest.fixture(scope="module")
def done(cwd: Path, server: Server) -> Any:
    models.twice(cwd / "twice.onnx", ["n", 4])
    models.lite(cwd / "dense.tflite", int8=True)
    models.saved_model(cwd / "saved" / "2")
    targets = [
        "dense.tflite", "twice.onnx", "saved", f"{server.addresses['grpc']}/half",
        f"{server.addresses['rest']}/v1/models/half/versions/3",
    ]  # fmt: skip
    metrics = f"{server.addresses['rest']}/monitoring/prometheus/metrics"
    return modelmill(
        "bench", *targets, "--scenario", "single-stream,offline", *BRIEFLY, "--metrics", metrics, "--json", cwd=cwd
    )


def test_five_kinds_of_targets_are_measured_in_one_table(done: Any, cwd: Path) -> None:
    assert done.returncode == 0, done.stdout + done.stderr
    found = document.read(cwd / "runs/bench")
    assert [target.error for target in found.targets] == [None] * 5
    assert [target.runtime for target in found.targets] == ["litert", "onnxruntime", "tensorflow", "served", "served"]
    assert [target.protocol for target in found.targets] == [None, None, None, "grpc", "rest"]
    assert found.titles() == ["SingleStream", "Offline, batch 4, concurrency 1"]
    for title in found.titles():
        rows = found.of(title)
        assert len(rows) == 5
        assert all(one.queries > 0 and one.p50_ms is not None for _, one in rows)
        assert [one.latency_speedup is None for _, one in rows] == [True, False, False, False, False]
    assert found.targets[3].encoding == "tensor_content"
    assert found.targets[4].connection == "one connection per worker, kept"
    assert found.targets[0].inputs == ("x int8 [1, 4]",)
    assert "random values" in found.targets[0].samples
    assert (cwd / "runs/bench/bench.html").is_file()


def test_servers_own_time_is_told_apart_from_the_network(done: Any, cwd: Path) -> None:  # noqa: ARG001
    found = document.read(cwd / "runs/bench")
    for target in found.targets[3:]:
        for one in target.results:
            assert one.server is not None, target.notes
            assert one.server.requests == one.queries  # of the blocks alone
            assert 0 < one.server.request_ms < one.server.client_ms
    assert found.targets[0].results[0].server is None


def test_last_line_of_json_is_the_result(done: Any, cwd: Path) -> None:
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[-1]["event"] == "finished"
    assert lines[-1]["exit_code"] == 0
    assert lines[-1]["result"] == json.loads((cwd / "runs/bench/bench.json").read_text())
    assert {line["event"] for line in lines[:-1]} == {"progress"}


def test_table_is_printed_and_a_target_that_fails_leaves_the_others(cwd: Path, done: Any) -> None:  # noqa: ARG001
    (cwd / "broken.onnx").write_bytes(b"nothing")
    arguments = ["bench", "broken.onnx", "twice.onnx", "--scenario", "single-stream", *BRIEFLY, "--out", "other"]
    told = modelmill(*arguments, "--against", "twice.onnx", cwd=cwd)
    assert told.returncode == 4
    assert "SingleStream; 5 blocks each" in told.stdout
    assert "broken.onnx: not measured: " in told.stdout
    assert "report: other/bench.html" in told.stdout
    assert "Traceback" not in told.stdout + told.stderr
    assert (told.stdout + told.stderr).count("arsing failed") == 1  # the reason is told whole once, with the result
    assert "InvalidProtobuf: it is measured no further" in told.stderr


def test_latency_at_a_fixed_rate_is_told_without_a_bound(cwd: Path) -> None:
    models.twice(cwd / "rate.onnx", ["n", 4])
    arguments = ["bench", "rate.onnx", "--scenario", "server", "--rate", "3000", *BRIEFLY, "--out", "rate"]
    told = modelmill(*arguments, cwd=cwd)
    assert told.returncode == 0, told.stdout + told.stderr
    assert "Server, concurrency 1; 3000 samples/s arrive (Poisson); 5 blocks each" in told.stdout
    again = modelmill(*arguments, cwd=cwd)
    assert "replaces the earlier result in rate; another --out keeps it" in again.stderr
    (one,) = document.read(cwd / "rate").targets[0].results
    assert one.p99_ms is not None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing.tflite"], "nothing.tflite is nothing to measure"),
        (["grpc://h:1", "--scenario", "server"], "the server scenario needs a bound"),
        (["grpc://h:1", "--concurrency", "65", "--scenario", "offline"], "numbers from 1 to 64"),
        (["grpc://h:1", "--against", "x"], "--against x: no such target"),
    ],
)
def test_wrong_argument_is_one_message_and_exit_code_2(cwd: Path, arguments: list[str], words: str) -> None:
    told = modelmill("bench", *arguments, cwd=cwd)
    assert told.returncode == 2
    assert words in told.stderr
    assert "what to do" in told.stderr


@needs_engine
def test_image_with_a_model_in_it_is_started_measured_over_both_protocols_and_removed(
    cwd: Path, half: Deployment
) -> None:
    with baked(half) as image, engine() as api:
        before = {one["Id"] for one in api.containers(all=True)}
        arguments = [f"docker:{image}", "--scenario", "offline", *BRIEFLY, "--out", "image"]
        address = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
        told = modelmill("bench", *arguments, cwd=cwd, DOCKER_HOST=address)
        assert told.returncode == 0, told.stdout + told.stderr
        mine = [one for one in api.containers(all=True) if one["Id"] not in before and one["Image"] == image]
        assert mine == []
    found = document.read(cwd / "image")
    assert [target.protocol for target in found.targets] == ["grpc", "rest"]
    for target in found.targets:
        assert target.error is None
        assert target.server is not None
        assert target.server["image"] == image
        assert target.results[0].queries > 0


@needs_engine
def test_image_that_is_not_there_is_that_targets_reason_with_exit_code_3(cwd: Path, done: Any) -> None:  # noqa: ARG001
    address = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    arguments = ["docker:modelmill-test/nowhere:0", "twice.onnx", "--scenario", "offline", *BRIEFLY, "--out", "none"]
    told = modelmill("bench", *arguments, cwd=cwd, DOCKER_HOST=address)
    assert told.returncode == 3
    assert "modelmill-test/nowhere:0 is not in the Docker engine" in told.stdout
    assert document.read(cwd / "none").targets[1].error is None
