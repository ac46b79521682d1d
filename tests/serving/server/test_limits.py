"""Our own limits on REST clients, CORS (4.8), and clients that take their time where nothing limits them."""

from __future__ import annotations

import http.client
import json
import select
import socket
import time
from collections.abc import Callable
from functools import partial

import psutil
import pytest

from tests.serving.server.running import Running
from tests.serving.server.test_http import connected, read, request

MANY = 400_000
LARGE = b'{"inputs": [' + b"1," * (MANY - 1) + b"1]}"
FOREVER = json.dumps({"inputs": 2**60}).encode()
SLOW = b"POST /v1/models/slow:predict HTTP/1.1"
STATUS = b"GET /v1/models/half HTTP/1.1\r\n\r\n"


def seconds_until_end(connection: socket.socket, started: float, drip: Callable[[], None] = lambda: None) -> float:
    """Return when the server ends a connection on which it has nothing to say, from before the client connected."""
    connection.settimeout(0.2)
    while time.monotonic() - started < 60:
        try:
            drip()
            assert connection.recv(1) == b""
        except TimeoutError:
            continue
        except ConnectionError:
            pass
        return time.monotonic() - started
    raise AssertionError("the connection is still there")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET / HTTP/1.1\r\nX: " + b"y" * 70_000, 400),
        (b"GET /" + b"z" * 70_000, 400),
        (b"\x00" * 70_000, 400),
        (request(b"", b"X: " + b"y" * 70_000), 400),
        (b"POST /v1/models/half:predict HTTP/1.1\r\nContent-Length: 2000001\r\n\r\n", 413),
        (b"POST /v1/models/half:predict HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1E8480\r\n", 413),
    ],
)
def test_a_page_says_so_and_the_connection_ends_when_a_request_is_too_large(
    limited: Running, sent: bytes, status: int
) -> None:
    with connected(limited) as connection:
        connection.sendall(sent)
        found, page = read(connection, 1)[0]
        assert (found, page[:6]) == (status, b"<HTML>")
        assert connection.recv(1) == b""


def test_a_request_has_no_largest_head_or_body_when_no_flag_says_so(server: Running) -> None:
    with connected(server) as connection:
        connection.sendall(request(b'{"instances": [1]}' + b" " * 3_000_000, b"X: " + b"y" * 200_000))
        assert read(connection, 1)[0][0] == 200


def test_an_idle_connection_ends_after_its_time(limited: Running) -> None:
    started = time.monotonic()
    with connected(limited) as silent, connected(limited) as kept:
        kept.sendall(STATUS)
        assert read(kept, 1)[0][0] == 200
        assert 2 < seconds_until_end(silent, started) < 50
        assert seconds_until_end(kept, started) < 50


def test_a_connection_ends_when_a_request_takes_too_long_though_bytes_come(limited: Running) -> None:
    head = b"POST /v1/models/half:predict HTTP/1.1\r\nContent-Length: 1000\r\n\r\n"
    for begun, more in ((b"GET / HTTP/1.1\r\nX: ", b"y"), (head, b" ")):
        started = time.monotonic()
        with connected(limited) as connection:
            connection.sendall(begun)
            drip = partial(connection.sendall, more)
            assert 2 < seconds_until_end(connection, started, drip) < 50


def test_a_connection_ends_when_the_answer_is_not_taken(limited: Running) -> None:
    with connected(limited) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        connection.sendall(request(LARGE))
        own = connection.getsockname()[1]
        deadline = time.monotonic() + 60
        while own not in clients(limited):
            assert time.monotonic() < deadline
        while own in clients(limited):
            assert time.monotonic() < deadline
            time.sleep(0.2)


def clients(server: Running) -> list[int]:
    """Return the ports from which clients are connected."""
    return [
        connection.raddr.port
        for connection in psutil.Process(server.process.pid).net_connections("tcp")
        if connection.raddr
    ]


def test_an_answer_arrives_whole_when_the_client_takes_its_time(server: Running) -> None:
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        connection.settimeout(30)
        connection.connect(("127.0.0.1", server.rest_port))
        connection.sendall(request(LARGE) + request())
        assert server.predict("half", {"instances": [1]}) == {"predictions": [3.5]}
        time.sleep(0.5)
        (first, body), (second, _) = read(connection, 2)
    assert (first, second) == (200, 200)
    assert json.loads(body)["outputs"] == [3.5] * MANY


@pytest.mark.rule("9.2b")
def test_a_request_is_turned_away_when_too_many_wait(limited: Running) -> None:
    """Two run, one waits, the fourth is told at once, whichever it is; then all others are answered."""
    with connected(limited) as a, connected(limited) as b, connected(limited) as c, connected(limited) as d:
        waiting = {a, b, c, d}
        for connection in waiting:
            connection.sendall(request(FOREVER, line=SLOW))
        (refused,), _, _ = select.select(list(waiting), [], [], 20)
        status, body = read(refused, 1)[0]
        assert (status, list(json.loads(body))) == (429, ["error"])
        refused.sendall(STATUS)
        assert read(refused, 1)[0][0] == 429
        for connection in waiting - {refused}:
            assert read(connection, 1)[0][0] == 504
    assert limited.ask("GET", "/v1/models/half")[0] == 200


def test_a_connection_is_turned_away_when_there_are_too_many(limited: Running) -> None:
    connections = [socket.create_connection(("127.0.0.1", limited.rest_port), timeout=20) for _ in range(45)]
    try:
        connections[0].sendall(STATUS)
        assert read(connections[0], 1)[0][0] == 200
        status, page = read(connections[-1], 1)[0]
        assert (status, page[:6]) == (503, b"<HTML>")
        assert connections[-1].recv(1) == b""
    finally:
        for connection in connections:
            connection.close()
    deadline = time.monotonic() + 60
    while True:
        try:
            assert limited.ask("GET", "/v1/models/half")[0] == 200
            return
        except (AssertionError, OSError):
            assert time.monotonic() < deadline


def answered(server: Running, method: str, path: str, **headers: str) -> tuple[int, bytes, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=30)
    connection.request(method, path, b"x" if method == "POST" else None, headers)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, body, response.headers


CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST, GET",
    "Access-Control-Allow-Headers": "Content-Type",
}


@pytest.mark.rule("4.8")
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/models/half", 200), ("GET", "/v1/models/no", 404), ("POST", "/v1/models/half:predict", 400),
     ("GET", f"/v1/models/half/versions/{2**63}", 400), ("OPTIONS", "/v1/models/half:predict", 400)],
)  # fmt: skip
def test_answers_have_cors_headers_only_with_the_flag(
    server: Running, limited: Running, method: str, path: str, status: int
) -> None:
    found, _, headers = answered(limited, method, path)
    assert found == status
    assert {name: headers[name] for name in CORS} == CORS
    found, _, headers = answered(server, method, path)
    assert found == status
    assert not [name for name in headers if name.startswith("Access")]


@pytest.mark.rule("4.8")
def test_options_are_answered_when_they_say_where_they_come_from(server: Running, limited: Running) -> None:
    for asked, with_cors in ((server, False), (limited, True)):
        for origin, status in (("http://x", 200), ("https://x", 200), ("ftp://x", 400), ("", 400)):
            found, body, headers = answered(asked, "OPTIONS", "/v1/models/half:predict", Origin=origin)
            assert (found, body) == (status, b"")
            assert headers["Content-Type"].startswith("text/html")
            assert ("Access-Control-Allow-Origin" in headers) == with_cors
        assert answered(asked, "OPTIONS", "/v2", Origin="http://x")[0] == 404
        assert "Access-Control-Allow-Origin" not in answered(asked, "GET", "/v2")[2]


@pytest.mark.rule("4.1", "4.10")
def test_the_metrics_have_no_path_when_nothing_enables_them(limited: Running) -> None:
    status, page, headers = answered(limited, "GET", "/monitoring/prometheus/metrics")
    assert (status, headers["Content-Type"]) == (404, "text/html")
    assert b"<H1>Not Found</H1>" in page
