"""A small HTTP/1.1 server over sockets: a thread per connection, kept alive, one write per answer (rule 9.6)."""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus

from serving.server.http_request import ProtocolError, Reader, Request

_SEND_TIMEOUT_S = 60  # a client that does not read cannot hold a slot for longer
_NO_REASONS = {499: "Client Closed Request"}


@dataclass(frozen=True)
class Response:
    """An answer."""

    status: int
    body: bytes
    content_type: str = "application/json"


def html_error(status: int) -> Response:
    """Return the small page that libevent answers where no handler is asked (rule 4.1)."""
    reason = _reason(status)
    page = f"<HTML><HEAD>\n<TITLE>{status} {reason}</TITLE>\n</HEAD><BODY>\n<H1>{reason}</H1>\n</BODY></HTML>\n"
    return Response(status, page.encode(), "text/html")


class HttpServer:
    """Listens and answers.

    Args:
        address: to listen on.
        handle: answers a request.
        threads: requests handled at the same time; more wait.

    Raises:
        OSError: the port cannot be had.
    """

    def __init__(self, address: str, port: int, handle: Callable[[Request], Response], threads: int) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listener = socket.create_server((address, port), family=family, backlog=256)
        self._handle, self._threads = handle, threads
        self._slots = threading.Semaphore(threads)
        self._stopping = False
        self._dates = _Date()
        threading.Thread(target=self._accept, name="rest", daemon=True).start()

    def stop(self, deadline: float) -> None:
        """Take no more requests; return when the running ones are answered, or at the deadline (time.monotonic)."""
        self._stopping = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for _ in range(self._threads):
            self._slots.acquire(timeout=max(0.0, deadline - time.monotonic()))

    def _accept(self) -> None:
        while not self._stopping:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # closed by stop(), or out of file descriptors for the moment
                time.sleep(0.01)
                continue
            try:
                threading.Thread(target=self._serve, args=(connection,), name="rest", daemon=True).start()
            except RuntimeError:  # out of threads: one client is turned away, the server goes on
                connection.close()

    def _serve(self, connection: socket.socket) -> None:
        """Answer the requests of a connection, one after another, until it ends."""
        with connection, contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", _SEND_TIMEOUT_S, 0))
            reader = Reader(connection)
            while not self._stopping:
                try:
                    request = reader.read()
                except ProtocolError as error:
                    connection.sendall(self._bytes(html_error(error.status), keep=False))
                    _close_gently(connection)
                    return
                if request is None:
                    return
                with self._slots:
                    response = self._answer(request)
                    keep = reader.keep_alive and not self._stopping
                    connection.sendall(self._bytes(response, keep=keep, body=request.method != "HEAD"))
                if not keep:
                    _close_gently(connection)
                    return

    def _answer(self, request: Request) -> Response:
        try:
            return self._handle(request)
        except Exception:  # noqa: BLE001  one request fails, the server goes on
            traceback.print_exc(file=sys.stderr)
            return html_error(500)

    def _bytes(self, response: Response, *, keep: bool, body: bool = True) -> bytes:
        """Return headers and body in one piece."""
        head = (
            f"HTTP/1.1 {response.status} {_reason(response.status)}\r\nContent-Type: {response.content_type}\r\n"
            f"Date: {self._dates.now()}\r\nContent-Length: {len(response.body)}\r\n"
            f"{'' if keep else 'Connection: close' + chr(13) + chr(10)}\r\n"
        )
        return head.encode() + response.body if body else head.encode()


class _Date:
    """The Date header, made once a second."""

    def __init__(self) -> None:
        self._second, self._text = -1, ""

    def now(self) -> str:
        second = int(time.time())
        if second != self._second:
            self._second, self._text = second, formatdate(second, usegmt=True)
        return self._text


def _close_gently(connection: socket.socket) -> None:
    """End a connection such that what was sent arrives: unread input would make the system reset it."""
    connection.shutdown(socket.SHUT_WR)
    connection.settimeout(1)
    with contextlib.suppress(OSError):
        for _ in range(64):
            if not connection.recv(1 << 16):
                return


def _reason(status: int) -> str:
    return _NO_REASONS.get(status) or HTTPStatus(status).phrase
