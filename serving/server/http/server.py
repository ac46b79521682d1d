"""A small HTTP/1.1 server over sockets: kept-alive connections, one write per answer (rule 9.6).

Every thread waits for the next connection that is ready, reads what is there, and answers what is complete. A client
that is slow, silent or gone costs a socket, never a thread.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from functools import cache
from http import HTTPStatus

from serving.server.http.connection import Connection, Limits
from serving.server.http.poll import Poller
from serving.server.http.request import ProtocolError, Request, Wait

log = logging.getLogger(__name__)

_LOOK_S = 0.5  # how often deadlines are looked at
_NO_REASONS = {499: "Client Closed Request"}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_KEPT, _CLOSED = "", "Connection: close\r\n"


@dataclass(frozen=True)
class Response:
    """An answer.

    Attributes:
        headers: more of them, each with its line end.
    """

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: str = ""


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
        overloaded: the answer where no more may wait.

    Raises:
        OSError: the port cannot be had.
    """

    def __init__(
        self,
        address: str,
        port: int,
        handle: Callable[[Request], Response],
        threads: int,
        limits: Limits,
        overloaded: Response,
    ) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listener = socket.create_server((address, port), family=family, backlog=1024)
        self._listener.settimeout(_LOOK_S)
        self._handle, self._slots, self._limits, self._overloaded = handle, threads, limits, overloaded
        self._poller = Poller()
        self._connections: dict[int, Connection] = {}
        self._lock = threading.Lock()
        self._running = 0
        self._queue: deque[tuple[Connection, Request]] = deque()
        self._stopping = False
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._poller.add_for_all(self._wake_reader.fileno())
        self._dates = _Date()
        # one more than may handle requests, so that one always reads
        self._threads = [threading.Thread(target=self._work, name="rest", daemon=True) for _ in range(threads + 1)]
        for thread in [*self._threads, threading.Thread(target=self._accept, name="rest accept", daemon=True)]:
            thread.start()

    def stop(self, deadline: float) -> None:
        """Take no more requests; return when those at hand are answered, or at the deadline (time.monotonic)."""
        self._stopping = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # ends the wait for a client, too
        self._listener.close()
        self._wake_writer.send(b"x")
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        for connection in list(self._connections.values()):
            connection.drain(deadline - time.monotonic())

    def _accept(self) -> None:
        """Take new connections, and end those whose time is over."""
        next_look = time.monotonic() + _LOOK_S
        while not self._stopping:
            try:
                accepted, _ = self._listener.accept()
            except TimeoutError:
                pass
            except OSError:  # closed by stop(), or out of file descriptors for the moment
                time.sleep(0.01)
            else:
                try:
                    self._admit(accepted)
                except Exception:  # one client is turned away, the next ones are not
                    log.exception("a connection cannot be taken")
                    accepted.close()
            now = time.monotonic()
            if now >= next_look:
                for connection in list(self._connections.values()):
                    if now > connection.deadline:
                        connection.cut()
                next_look = now + _LOOK_S

    def _admit(self, accepted: socket.socket) -> None:
        connection = None
        try:
            connection = Connection(accepted, self._limits)
            if self._limits.connections and len(self._connections) >= self._limits.connections:
                connection.send(self._bytes(html_error(503), keep=False))
                connection.close()
                return
            self._connections[connection.fd] = connection
            self._poller.add(connection.fd)
        except OSError:  # gone already, or more than the system can watch
            if connection is not None:
                self._connections.pop(connection.fd, None)
            accepted.close()

    def _work(self) -> None:
        """Serve whatever connection is ready, until the server stops."""
        while not self._stopping:
            connection = self._connections.get(self._poller.wait())
            if connection is None:
                continue
            try:
                self._serve(connection)
            except Exception:  # whatever becomes of one connection, the others are served
                log.exception("a connection failed")

    def _serve(self, connection: Connection) -> None:
        """Go on with a connection that is ready: read, and handle a request that is complete, or let it wait."""
        request = self._next(connection, ready=True)
        while request is not None:
            with self._lock:
                has_slot = self._running < self._slots
                waits = not has_slot and not 0 < self._limits.queued <= len(self._queue)
                if has_slot:
                    self._running += 1
                elif waits:
                    self._queue.append((connection, request))
            if has_slot:
                self._handle_all(connection, request)
            if has_slot or waits:
                return
            self._send(connection, request, self._overloaded)
            request = self._next(connection)

    def _handle_all(self, connection: Connection, request: Request) -> None:
        """Handle a request, and then those that wait, until there are none."""
        while True:
            self._send(connection, request, self._answer(request))
            following = self._next(connection)
            with self._lock:
                if following is not None:
                    self._queue.append((connection, following))
                if not self._queue:
                    self._running -= 1
                    return
                connection, request = self._queue.popleft()

    def _next(self, connection: Connection, *, ready: bool = False) -> Request | None:
        """Return the next request of a connection, or leave it to whoever finds it ready the next time."""
        try:
            if ready and connection.has_unsent:
                connection.flush()
            elif ready and not connection.receive():
                self._end(connection)
                return None
            while not connection.has_unsent and not connection.ending:
                found = connection.reader.next()
                if isinstance(found, Request):
                    connection.is_served()
                    return found
                if found is Wait.FOR_BYTES:
                    break
                connection.send(_CONTINUE)
        except ProtocolError as error:
            self._send(connection, None, html_error(error.status))
        except OSError:
            self._end(connection)
            return None
        except Exception:  # out of memory for what was sent: one connection ends, the server goes on
            log.exception("a connection failed")
            self._end(connection)
            return None
        connection.waits_for_client()
        self._poller.arm(connection.fd, to_write=connection.has_unsent)
        return None

    def _send(self, connection: Connection, request: Request | None, response: Response) -> None:
        keep = request is not None and request.keep_alive and not self._stopping
        connection.ending = not keep
        try:
            connection.send(self._bytes(response, keep=keep, body=request is None or request.method != "HEAD"))
        except MemoryError:  # for a copy of the answer
            log.exception("an answer is too large")
            connection.ending = True

    def _end(self, connection: Connection) -> None:
        del self._connections[connection.fd]  # before the system gives its number to another
        connection.close()

    def _answer(self, request: Request) -> Response:
        try:
            return self._handle(request)
        except Exception:  # one request fails, the server goes on
            log.exception("a request failed")
            return html_error(500)

    def _bytes(self, response: Response, *, keep: bool, body: bool = True) -> bytes:
        """Return headers and body in one piece."""
        head = (
            f"HTTP/1.1 {response.status} {_reason(response.status)}\r\nContent-Type: {response.content_type}\r\n"
            f"{response.headers}Date: {self._dates.now()}\r\nContent-Length: {len(response.body)}\r\n"
            f"{_KEPT if keep else _CLOSED}\r\n"
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


@cache
def _reason(status: int) -> str:
    return _NO_REASONS.get(status) or HTTPStatus(status).phrase
