"""HTTP itself: kept-alive connections, compressed bodies, and requests that are none (4.1, 4.9, 9.6)."""

from __future__ import annotations

import gzip
import re
import socket
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.serving.server.running import Running

BODY = b'{"instances": [1]}'
PATH = b"/v1/models/half:predict"
ANSWER = b'{\n    "predictions": [3.5\n    ]\n}'


def request(body: bytes = BODY, *headers: bytes, line: bytes = b"POST " + PATH + b" HTTP/1.1") -> bytes:
    """Return the bytes of a request."""
    return b"\r\n".join([line, b"Host: h", b"Content-Length: %d" % len(body), *headers, b"", body])


@contextmanager
def connected(server: Running) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.rest_port), timeout=20) as connection:
        yield connection


def read(connection: socket.socket, count: int) -> list[tuple[int, bytes]]:
    """Return status and body of the next answers; they are all that comes."""
    data, found = b"", []
    while len(found) < count:
        match = re.match(rb"HTTP/1\.1 (\d+) [^\r]*\r\n(.*?)\r\n\r\n", data, re.DOTALL)
        length = int(re.search(rb"Content-Length: (\d+)", match[2])[1]) if match else 0
        if match and len(data) >= match.end() + length:
            found.append((int(match[1]), data[match.end() : match.end() + length]))
            data = data[match.end() + length :]
            continue
        part = connection.recv(65536)
        assert part, f"the connection ended after {data!r}"
        data += part
    assert data == b""
    return found


@pytest.mark.rule("4.1")
def test_a_connection_is_kept_when_requests_follow_each_other(server: Running) -> None:
    with connected(server) as connection:
        for body, status in ((BODY, 200), (b"x", 400), (BODY, 200)):
            connection.sendall(request(body))
            assert read(connection, 1)[0][0] == status


@pytest.mark.rule("4.1", "9.6")
def test_headers_and_body_come_in_one_piece(server: Running) -> None:
    """Rule 9.6."""
    with connected(server) as connection:
        connection.sendall(request())
        answer = connection.recv(65536)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert body == ANSWER
    assert b"\r\nContent-Type: application/json\r\n" in head
    assert b"Content-Encoding" not in head


def test_requests_are_answered_in_order_when_they_are_pipelined(server: Running) -> None:
    with connected(server) as connection:
        connection.sendall(request() + request(b"x") + b"\r\n" + request(line=b"GET / HTTP/1.1", body=b"") + request())
        assert [status for status, _ in read(connection, 4)] == [200, 400, 404, 200]


def test_a_request_is_answered_when_it_comes_byte_by_byte(server: Running) -> None:
    with connected(server) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(len(request())):
            connection.sendall(request()[at : at + 1])
        assert read(connection, 1) == [(200, ANSWER)]


def test_a_body_is_read_when_it_comes_in_chunks(server: Running) -> None:
    head = b"POST " + PATH + b" HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = b"5;x=y\r\n" + BODY[:5] + b"\r\nD\r\n" + BODY[5:] + b"\r\n0\r\nTrailer: x\r\n\r\n"
    with connected(server) as connection:
        connection.sendall(head + chunks + request())
        assert read(connection, 2) == [(200, ANSWER)] * 2


def test_a_client_is_told_to_go_on_when_it_waits_for_that(server: Running) -> None:
    with connected(server) as connection:
        head, _, body = request(BODY, b"Expect: 100-continue").partition(b"\r\n\r\n")
        connection.sendall(head + b"\r\n\r\n")
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert read(connection, 1) == [(200, ANSWER)]


@pytest.mark.parametrize(
    "sent", [request(BODY, b"Connection: close"), request(line=b"POST " + PATH + b" HTTP/1.0")], ids=["close", "1.0"]
)
def test_the_connection_ends_when_the_client_wants_it(server: Running, sent: bytes) -> None:
    with connected(server) as connection:
        connection.sendall(sent)
        assert read(connection, 1) == [(200, ANSWER)]
        assert connection.recv(1) == b""


@pytest.mark.rule("4.2")
def test_a_head_request_has_no_body_when_it_is_answered(server: Running) -> None:
    with connected(server) as connection:
        connection.sendall(b"HEAD /v1/models/half HTTP/1.1\r\n\r\n")
        assert connection.recv(65536).endswith(b"\r\n\r\n")
        connection.sendall(request())
        assert read(connection, 1) == [(200, ANSWER)]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"garbage\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET /v1/models/half HTTP/2.0\r\n\r\n", 400),
        (b"GET  HTTP/1.1\r\n\r\n", 400),
        (b"BREW /v1/models/half HTTP/1.1\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n folded: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length : 1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n", 400),
    ],
)
def test_a_page_says_so_and_the_connection_ends_when_a_request_is_none(
    server: Running, sent: bytes, status: int
) -> None:
    with connected(server) as connection:
        connection.sendall(sent)
        found, page = read(connection, 1)[0]
        assert found == status
        assert page.startswith(b"<HTML>")
        assert connection.recv(1) == b""
    assert server.predict("half", BODY) == {"predictions": [3.5]}


@pytest.mark.parametrize("sent", [b"", b"GET", request()[:-3], request().replace(b"18", b"1" * 17)])
def test_the_server_goes_on_when_a_client_leaves_in_the_middle(server: Running, sent: bytes) -> None:
    for _ in range(3):
        with connected(server) as connection:
            connection.sendall(sent)
    assert server.predict("half", BODY) == {"predictions": [3.5]}


@pytest.mark.rule("9.2b")
def test_many_clients_are_answered_when_they_come_at_once(server: Running) -> None:
    """Rule 9.2b: more than rest_api_num_threads wait."""
    connections = [socket.create_connection(("127.0.0.1", server.rest_port), timeout=20) for _ in range(60)]
    for connection in connections:
        connection.sendall(request())
    for connection in connections:
        assert read(connection, 1) == [(200, ANSWER)]
        connection.close()


EMPTY = b'{\n    "error": "JSON Parse error: The document is empty"\n}'
PACKED = gzip.compress(BODY)


@pytest.mark.rule("4.9")
@pytest.mark.parametrize("encoding", [b"gzip", b"x-gzip, identity"])
def test_a_body_is_inflated_when_it_came_compressed(server: Running, encoding: bytes) -> None:
    with connected(server) as connection:
        connection.sendall(request(PACKED, b"Content-Encoding: " + encoding, b"Accept-Encoding: gzip"))
        assert read(connection, 1) == [(200, ANSWER)]


@pytest.mark.rule("4.9")
@pytest.mark.parametrize(
    "body",
    [
        b"", BODY, b"\x1f\x8b", PACKED[:-1], PACKED[:-8], PACKED + b"x", PACKED + PACKED, PACKED[:-4] + b"\0\0\0\0",
        PACKED[:-8] + b"\0\0\0\0" + PACKED[-4:], zlib.compress(BODY),
    ],
    ids=["empty", "plain", "header", "cut", "no footer", "longer", "twice", "wrong size", "wrong sum", "zlib"],
)  # fmt: skip
def test_a_compressed_body_counts_as_empty_when_it_is_bad(server: Running, body: bytes) -> None:
    with connected(server) as connection:
        connection.sendall(request(body, b"Content-Encoding: gzip") + request())
        assert read(connection, 2) == [(400, EMPTY), (200, ANSWER)]


@pytest.mark.rule("4.9")
def test_a_compressed_body_counts_as_empty_when_it_is_larger_than_it_may_be(server: Running) -> None:
    """100 MiB are inflated, one byte more is not; neither are 100 MiB that say they are 16."""
    spaces = b" " * (1 << 20)
    packer = zlib.compressobj(9, wbits=31)
    largest = b"".join([*(packer.compress(spaces) for _ in range(99)), packer.compress(spaces[len(BODY) :] + BODY)])
    beyond = packer.copy()
    lying = (largest + packer.flush())[:-4] + b"\x10\0\0\0"
    with connected(server) as connection:
        connection.sendall(request(lying, b"Content-Encoding: gzip"))
        assert read(connection, 1) == [(400, EMPTY)]
        connection.sendall(request(largest + beyond.compress(b" ") + beyond.flush(), b"Content-Encoding: gzip"))
        assert read(connection, 1) == [(400, EMPTY)]
        connection.sendall(request(lying[:-4] + (100 << 20).to_bytes(4, "little"), b"Content-Encoding: gzip"))
        assert read(connection, 1) == [(200, ANSWER)]


@pytest.mark.rule("4.9")
def test_a_body_is_not_inflated_when_nothing_says_that_it_is_compressed(server: Running) -> None:
    with connected(server) as connection:
        connection.sendall(request(PACKED))
        assert read(connection, 1)[0][0] == 400
        connection.sendall(request(BODY, b"Content-Encoding: deflate"))
        assert read(connection, 1) == [(200, ANSWER)]
