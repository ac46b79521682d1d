"""The gRPC server by itself, with methods that need no model: what it relies on in grpcio's core, and its limits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from serving.server.grpc import health as grpc_health
from serving.server.grpc.call import Call, Method
from serving.server.grpc.server import GrpcServer
from serving.server.status import Code, StatusError
from tests.serving.server.asking import failure
from tests.serving.server.running import free_ports

EXHAUSTED = ("RESOURCE_EXHAUSTED", "Server Threadpool Exhausted")
SERVING, SERVICE_UNKNOWN = 1, 3


class Gate:
    """A method whose calls wait until it is opened."""

    def __init__(self) -> None:
        self.open, self.entered = threading.Event(), threading.Semaphore(0)

    def __call__(self, request: bytes, _: Call) -> bytes:
        self.entered.release()
        assert self.open.wait(30)
        return request


def echo(request: bytes, _: Call) -> bytes:
    return request


def wrong(request: bytes, _: Call) -> bytes:
    raise StatusError(Code.OUT_OF_RANGE, "é" * 600) if request else ValueError("a bug")


def left(_: bytes, call: Call) -> bytes:
    return repr(call.time_remaining()).encode()


@contextmanager
def serving(
    gate: Callable[[bytes, Call], bytes] = echo,
    threads: int = 8,
    queue: int = 0,
    waiting: Callable[[bytes, Call], bytes] = echo,
    **options: int,
) -> Iterator[tuple[GrpcServer, Callable[[str], Any]]]:
    """Yield a server and what makes a stub for one of its methods; the health service is there too."""
    methods = {f"/s/{f.__name__}": Method(f) for f in (echo, wrong, left)} | {
        "/s/gate": Method(gate),
        "/s/waiting": Method(waiting, waits=True),
    }
    address = f"127.0.0.1:{free_ports(1)[0]}"
    given = [(f"grpc.{name}", value) for name, value in options.items()]
    server = GrpcServer(methods | grpc_health.methods(), [address], threads, queue, given)
    try:
        with grpc.insecure_channel(address, [("grpc.max_receive_message_length", -1)]) as channel:
            yield server, lambda name: channel.unary_unary(name if "/" in name else f"/s/{name}")
    finally:
        server.stop(time.monotonic())


def in_time(condition: Callable[[], bool]) -> bool:
    """Return whether it comes true."""
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


@pytest.mark.rule("2.6")
def test_a_request_is_answered_when_it_is_large() -> None:
    with serving() as (_, stub):
        for size in (0, 1, 9 << 20):
            assert stub("echo")(b"x" * size, timeout=30) == b"x" * size


@pytest.mark.rule("3.1")
def test_a_call_is_unimplemented_when_its_path_is_not_there() -> None:
    with serving() as (_, stub):
        for path in ("/s/nothing", "/tensorflow.serving.SessionService/SessionRun"):
            assert failure(stub(path), b"") == ("UNIMPLEMENTED", "")
        assert stub("echo")(b"x") == b"x"


@pytest.mark.rule("2.6")
def test_the_server_goes_on_when_an_answer_fails(caplog: pytest.LogCaptureFixture) -> None:
    with serving() as (_, stub):
        assert failure(stub("wrong"), b"x") == ("OUT_OF_RANGE", "é" * 512 + "...TRUNCATED")
        for _ in range(5):
            assert failure(stub("wrong"), b"") == ("INTERNAL", "ValueError: a bug")
        assert stub("echo")(b"x") == b"x"
    assert 'ValueError("a bug")' in caplog.text


def test_a_client_that_has_its_answer_finds_room_for_the_next_call() -> None:
    """On one thread, of which there is one alone, no call of one client after another may be refused."""
    with serving(threads=1) as (_, stub):
        ask = stub("echo")
        for number in range(2000):
            assert ask(b"%d" % number) == b"%d" % number


@pytest.mark.rule("3.12")
def test_a_call_that_may_wait_for_ever_ends_when_its_client_has_gone() -> None:
    entered, ended = threading.Event(), threading.Event()

    def wait(request: bytes, call: Call) -> bytes:
        entered.set()
        if in_time(lambda: not call.is_active()):
            ended.set()
        return request

    with serving(waiting=wait) as (_, stub):
        call = stub("waiting").future(b"x")
        assert entered.wait(20)
        assert not ended.wait(0.2)
        call.cancel()
        assert ended.wait(20)
        assert stub("echo")(b"x") == b"x"


@pytest.mark.rule("3.7")
def test_a_call_knows_what_is_left_of_its_deadline() -> None:
    with serving() as (_, stub):
        assert stub("left")(b"") == b"None"
        assert 50 < float(stub("left")(b"", timeout=100)) < 110  # the core rounds it on its way


@pytest.mark.rule("9.2b")
def test_calls_are_refused_when_as_many_are_running_as_there_are_threads() -> None:
    gate = Gate()
    with serving(gate, threads=2) as (_, stub):
        running = [stub("gate").future(b"%d" % number) for number in range(2)]
        for _ in running:
            assert gate.entered.acquire(timeout=20)
        for _ in range(20):
            assert failure(stub("echo"), b"x") == EXHAUSTED
        gate.open.set()
        assert [call.result() for call in running] == [b"0", b"1"]
        assert in_time(lambda: stub("echo").future(b"x").exception() is None)


@pytest.mark.rule("9.2b")
def test_calls_wait_when_there_is_a_queue_for_them_and_are_refused_beyond() -> None:
    gate = Gate()
    with serving(gate, threads=1, queue=3) as (_, stub):
        running = stub("gate").future(b"first")
        assert gate.entered.acquire(timeout=20)
        waiting = [stub("echo").future(b"%d" % number) for number in range(8)]
        assert in_time(lambda: sum(call.done() for call in waiting) == 5)
        gate.open.set()
        assert running.result() == b"first"
        found = [(call.exception().code().name, call.exception().details()) if call.exception() else call.result()
                 for call in waiting]  # fmt: skip
        assert found.count(EXHAUSTED) == 5
        assert all(answer in (EXHAUSTED, b"%d" % number) for number, answer in enumerate(found))


@pytest.mark.rule("9.2")
def test_every_call_is_answered_when_many_clients_ask_at_the_same_time() -> None:
    def ask(client: int) -> None:
        for number in range(100):
            request = b"%d %d" % (client, number)
            assert stub("echo")(request, timeout=60) == request

    with serving(threads=32) as (_, stub), ThreadPoolExecutor(16) as pool:
        assert list(pool.map(ask, range(16))) == [None] * 16


def test_a_thread_is_free_again_when_its_client_has_cancelled() -> None:
    gate = Gate()
    with serving(gate, threads=1) as (_, stub):
        running = stub("gate").future(b"")
        assert gate.entered.acquire(timeout=20)
        running.cancel()
        gate.open.set()
        assert in_time(lambda: stub("echo").future(b"x").exception() is None)


def test_a_call_fails_when_it_ends_without_a_request() -> None:
    address = f"127.0.0.1:{free_ports(1)[0]}"
    server = GrpcServer({"/s/echo": Method(echo)}, [address], 1, 0)
    with grpc.insecure_channel(address) as channel:
        for _ in range(3):
            assert failure(channel.stream_unary("/s/echo"), iter(())) == ("INTERNAL", "No payload")
        assert channel.unary_unary("/s/echo")(b"x") == b"x"
    server.stop(time.monotonic() + 3)


@pytest.mark.rule("1.2")
def test_the_core_follows_an_option_when_one_is_given() -> None:
    with serving(max_receive_message_length=10, no_such_option=1) as (_, stub):
        assert failure(stub("echo"), b"x" * 11)[0] == "RESOURCE_EXHAUSTED"
        assert stub("echo")(b"x" * 10) == b"x" * 10


@pytest.mark.rule("1.2")
def test_it_listens_on_a_unix_socket_too_even_where_a_dead_server_left_one(tmp_path: Path) -> None:
    addresses = [f"127.0.0.1:{free_ports(1)[0]}", f"unix:{tmp_path}/socket"]
    for _ in range(2):
        server = GrpcServer({"/s/echo": Method(echo)}, addresses, 4, 0)
        for address in addresses:
            with grpc.insecure_channel(address) as channel:
                assert channel.unary_unary("/s/echo")(b"x", timeout=20) == b"x"
        server.stop(time.monotonic() + 3)


def test_a_start_fails_when_the_address_is_taken() -> None:
    address = f"127.0.0.1:{free_ports(1)[0]}"
    server = GrpcServer({}, [address], 1, 0)
    with pytest.raises(StatusError, match=f"UNKNOWN: cannot listen for gRPC on {address}"):
        GrpcServer({}, [address], 1, 0)
    server.stop(time.monotonic() + 3)


def test_running_calls_end_and_new_ones_are_unavailable_when_it_stops() -> None:
    gate = Gate()
    with serving(gate) as (server, stub):
        running = stub("gate").future(b"x")
        assert gate.entered.acquire(timeout=20)
        with ThreadPoolExecutor(1) as pool:
            stopping = pool.submit(server.stop, time.monotonic() + 30)
            assert in_time(lambda: getattr(stub("echo").future(b"x").code(), "name", "") == "UNAVAILABLE")
            assert not stopping.done()
            gate.open.set()
            assert running.result() == b"x"
            stopping.result(20)


def test_running_calls_are_cancelled_when_the_deadline_of_the_stop_passes() -> None:
    gate = Gate()
    with serving(gate) as (server, stub):
        running = stub("gate").future(b"x")
        assert gate.entered.acquire(timeout=20)
        server.stop(time.monotonic() + 0.1)
        assert running.exception(20).code().name in ("CANCELLED", "UNAVAILABLE")
        gate.open.set()


@pytest.mark.rule("1.2")
def test_the_health_service_says_what_is_serving() -> None:
    with serving() as (_, stub):
        check = stub("/grpc.health.v1.Health/Check")
        for service in ("", "ModelService", "PredictionService"):
            data = check(health_pb2.HealthCheckRequest(service=service).SerializeToString())
            assert health_pb2.HealthCheckResponse.FromString(data).status == SERVING
        unknown = health_pb2.HealthCheckRequest(service="other").SerializeToString()
        assert failure(check, unknown)[0] == "NOT_FOUND"
        assert failure(check, b"\xff")[0] == "INTERNAL"


@pytest.mark.rule("1.2")
def test_the_health_service_is_watched_until_the_server_stops() -> None:
    address = f"127.0.0.1:{free_ports(1)[0]}"
    server = GrpcServer(grpc_health.methods() | {"/s/echo": Method(echo)}, [address], 4, 0)
    with grpc.insecure_channel(address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for service, expected in (("", SERVING), ("other", SERVICE_UNKNOWN)):
            gone = health.Watch(health_pb2.HealthCheckRequest(service=service))
            assert next(gone).status == expected
            gone.cancel()
        watching = []
        for _ in range(8):  # a watch takes no thread: there are fewer
            watching.append(health.Watch(health_pb2.HealthCheckRequest()))
            assert next(watching[-1]).status == SERVING
        assert in_time(
            lambda: channel.unary_unary("/s/echo").future(b"x").exception() is None
        )  # a watch takes no thread
        started = time.monotonic()
        server.stop(started + 20)
        assert time.monotonic() - started < 10
        for watch in watching:
            with pytest.raises(grpc.RpcError) as caught:
                next(watch)
            assert caught.value.code().name == "UNAVAILABLE"
