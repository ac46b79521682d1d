"""A server on a UNIX socket with one thread for gRPC: its health, its limits, and how it ends while requests run."""

from __future__ import annotations

import errno
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import prediction_service_pb2_grpc

from tests.serving.server.asking import failure, predict_request
from tests.serving.server.running import Running, wait_for_clients

ENDLESS = predict_request("slow", n=np.int64(2**60))
SHORT = predict_request("slow", n=np.int64(3))


@pytest.fixture(scope="module")
def small(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("small")
    flags = [
        f"--model_base_path={models}/slow", "--model_name=slow", "--port=0", f"--grpc_socket_path={folder}/socket",
        "--enable_grpc_healthcheck_service", "--grpc_max_threads=1", "--shutdown_grace_seconds=60",
        "--grpc_channel_arguments=grpc.max_receive_message_length=100000,no.such=option",
    ]  # fmt: skip
    server = Running(folder, flags)
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.process.kill()


@pytest.fixture(scope="module")
def channel(small: Running) -> Iterator[grpc.Channel]:
    path = next(flag for flag in small.process.args if "socket_path" in flag).partition("=")[2]
    with grpc.insecure_channel(f"unix:{path}") as connected:
        yield connected


@pytest.fixture(scope="module")
def prediction(channel: grpc.Channel) -> prediction_service_pb2_grpc.PredictionServiceStub:
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


def refuses(port: int) -> bool:
    """Return whether nobody listens."""
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) in (errno.ECONNREFUSED, errno.ECONNRESET)


@pytest.mark.rule("1.2", "1.3")
def test_it_listens_on_the_socket_alone_when_the_port_is_0(small: Running, channel: grpc.Channel) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    assert health.Check(health_pb2.HealthCheckRequest(service="PredictionService")).status == 1
    assert "Running gRPC ModelServer at UNIX socket " in small.err
    assert small.err.count("Running gRPC ModelServer at") == 1


@pytest.mark.rule("3.7", "9.2b")
def test_a_call_is_refused_while_another_runs_and_answered_once_its_deadline_has_passed(
    prediction: prediction_service_pb2_grpc.PredictionServiceStub,
) -> None:
    endless = prediction.Predict.future(ENDLESS, timeout=5)
    time.sleep(0.5)  # it is the first of all
    refused = None
    while not endless.done():
        try:
            prediction.Predict(SHORT)
        except grpc.RpcError as error:
            refused = refused or (error.code().name, error.details())
    assert refused == ("RESOURCE_EXHAUSTED", "Server Threadpool Exhausted")
    assert endless.exception().code().name == "DEADLINE_EXCEEDED"
    deadline = time.monotonic() + 60
    while (answer := prediction.Predict.future(SHORT)).exception():
        assert time.monotonic() < deadline
    assert list(answer.result().outputs["y"].int64_val) == [3]


@pytest.mark.rule("1.2")
def test_the_channel_arguments_are_followed(prediction: prediction_service_pb2_grpc.PredictionServiceStub) -> None:
    code, _ = failure(prediction.Predict, predict_request("slow", n=np.zeros(100_000, np.uint8)))
    assert code == "RESOURCE_EXHAUSTED"


def test_it_takes_no_more_requests_after_a_signal_and_ends_at_once_after_a_second(
    small: Running, prediction: prediction_service_pb2_grpc.PredictionServiceStub
) -> None:
    endless = prediction.Predict.future(ENDLESS)
    time.sleep(0.5)  # it is the first of all
    assert failure(prediction.Predict, SHORT)[0] == "RESOURCE_EXHAUSTED"
    with ThreadPoolExecutor(1) as pool:
        finite = pool.submit(small.predict, "slow", {"inputs": 400_000})
        wait_for_clients(small, small.rest_port, 1)
        small.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 60
        while failure(prediction.Predict, SHORT)[0] != "UNAVAILABLE":
            assert time.monotonic() < deadline
        while not refuses(small.rest_port):
            assert time.monotonic() < deadline
        assert finite.result() == {"outputs": 400_000}
    assert not endless.done()
    assert small.process.poll() is None
    started = time.monotonic()
    small.process.send_signal(signal.SIGTERM)
    assert small.ended() == 0
    assert time.monotonic() - started < 30
    assert endless.exception().code().name == "UNAVAILABLE"
    assert "Traceback" not in small.err
