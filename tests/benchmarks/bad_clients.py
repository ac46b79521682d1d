"""Clients that are slow, silent, half gone or gone, over raw sockets: what a server has to bear."""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
import threading
from typing import Self

REST_HEAD = b"POST /v1/models/half:predict HTTP/1.1\r\nHost: h\r\n"
ANSWER_SIZE = 200_000  # elements of the answer that is never read: some megabytes
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\0\0\0\4\0\0\0\0\0"  # an empty frame
HALF_HEADERS = b"\0\0\x64\1\0\0\0\0\1"  # announces 100 bytes of headers, without their end
PERIOD_S = 0.5


def large_request() -> bytes:
    """Return a request for an answer of some megabytes."""
    body = b'{"inputs": [' + b"1," * (ANSWER_SIZE - 1) + b"1]}"
    return REST_HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body


# kind -> what is sent at once, what is sent again and again, and whether the client leaves in the middle each time
REST = {
    "silent": (b"", b"", False),
    "a head that never ends": (REST_HEAD, b"X: y\r\n", False),
    "a body that never ends": (REST_HEAD + b"Content-Length: 1000000\r\n\r\n", b" ", False),
    "a chunked body that never ends": (REST_HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n", False),
    "an answer that is never read": (large_request(), b"", False),
    "half closed": (REST_HEAD, b"", False),
    "reset in the middle": (REST_HEAD + b"Content-Length: 100\r\n\r\n{", b"", True),
}
GRPC = {
    "silent": (b"", b"", False),
    "half a preface": (PREFACE[:14], b"", False),
    "a preface byte by byte": (b"", PREFACE, False),
    "no settings": (PREFACE, b"", False),
    "half a frame": (PREFACE + SETTINGS + HALF_HEADERS, b"", False),
    "not HTTP/2": (REST_HEAD, b"", False),
    "reset in the middle": (PREFACE + SETTINGS + HALF_HEADERS, b"", True),
}


class BadClients:
    """Many bad clients of both protocols, of every kind alike, for as long as the block lasts.

    Args:
        count: of all of them.
    """

    def __init__(self, rest_port: int, grpc_port: int, count: int) -> None:
        kinds = [*((rest_port, kind) for kind in REST.values()), *((grpc_port, kind) for kind in GRPC.values())]
        self._clients = [_BadClient(port, *kind) for port, kind in itertools.islice(itertools.cycle(kinds), count)]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._go_on, daemon=True)

    @property
    def connected(self) -> int:
        """How many hold a connection at this moment, as far as they know."""
        return sum(client.is_connected for client in self._clients)

    def __enter__(self) -> Self:
        for client in self._clients:
            client.connect()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for client in self._clients:
            client.leave()

    def _go_on(self) -> None:
        while not self._stop.wait(PERIOD_S):
            for client in self._clients:
                client.go_on()


class _BadClient:
    """One of them; it comes back when the server has ended the connection."""

    def __init__(self, port: int, first: bytes, again: bytes, leaves: bool) -> None:
        self._port, self._first, self._again, self._leaves = port, first, again, leaves
        self._socket: socket.socket | None = None
        self._sent = 0

    @property
    def is_connected(self) -> bool:
        return self._socket is not None

    def connect(self) -> None:
        with contextlib.suppress(OSError):
            self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=10)
            self._socket.sendall(self._first)
            self._socket.setblocking(False)
            if self._first == REST_HEAD and not self._again:
                self._socket.shutdown(socket.SHUT_WR)

    def go_on(self) -> None:
        if self._leaves:
            self.leave()
        if self._socket is None:
            self.connect()
        elif self._again:
            at = self._sent % len(self._again)
            try:
                self._socket.send(self._again[at : at + 1])
                self._sent += 1
            except BlockingIOError:
                pass
            except OSError:
                self.leave()

    def leave(self) -> None:
        """End with a reset."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._socket.close()
            self._socket = None
