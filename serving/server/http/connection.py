"""One connection of a client: what it brought, what it has not taken yet, and until when it may be slow."""

from __future__ import annotations

import contextlib
import socket
import time
from dataclasses import dataclass

from serving.server.http.request import Reader

_NEVER = float("inf")
_LINGER_S = 1.0
_LINGER_BYTES = 4 << 20


@dataclass(frozen=True)
class Limits:
    """What a client may take; 0: no limit, as in TensorFlow Serving.

    Attributes:
        connections: at once.
        queued: requests that wait for a thread.
        head, body: bytes of a request.
        idle_s: a connection on which nothing moves.
        request_s: from the first byte of a request to its last.
        answer_s: from the first byte of an answer to the last that is taken.
    """

    connections: int = 0
    queued: int = 0
    head: int = 0
    body: int = 0
    idle_s: float = 0
    request_s: float = 0
    answer_s: float = 0


class Connection:
    """A socket that never blocks. One thread at a time owns it.

    Attributes:
        reader: gives the requests.
        deadline: when its time is over (time.monotonic); while a request is answered there is none.
        ending: it ends once everything is sent.
    """

    def __init__(self, connection: socket.socket, limits: Limits) -> None:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._socket, self._limits = connection, limits
        self._unsent: memoryview | None = None
        self._begun: float | None = None
        self._finished = False
        self._discarded = 0
        self.fd = connection.fileno()
        self.reader = Reader(limits.head, limits.body)
        self.deadline = _NEVER
        self.ending = False
        self.waits_for_client()

    @property
    def has_unsent(self) -> bool:
        """Whether a part of an answer is not taken yet."""
        return self._unsent is not None

    def receive(self) -> bool:
        """Take what has come; return whether the client may bring more.

        Raises:
            OSError: the connection is lost.
        """
        try:
            data = self._socket.recv(self.reader.wanted)
        except BlockingIOError:
            return True
        if self.ending:  # unread input would make the system reset the connection, and with it the answer
            self._discarded += len(data)
            return bool(data) and self._discarded < _LINGER_BYTES
        self.reader.feed(data)
        return bool(data)

    def send(self, data: bytes) -> None:
        """Send what the client takes at once; the rest waits for `flush`. A lost connection shows when it is read."""
        self._unsent = memoryview(data)
        self.flush()

    def flush(self) -> None:
        """Send more of what was not taken yet."""
        rest, self._unsent = self._unsent, None
        if rest is None:
            return
        try:
            sent = self._socket.send(rest)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.ending = True
            return
        self._unsent = rest[sent:] if sent < len(rest) else None

    def waits_for_client(self) -> None:
        """Set the deadline: it is the client's turn. If it ends, say so, and throw away what still comes."""
        if self.ending and not self.has_unsent:
            if not self._finished:
                self._finished, self.deadline = True, time.monotonic() + _LINGER_S
                with contextlib.suppress(OSError):
                    self._socket.shutdown(socket.SHUT_WR)
            return
        limits = self._limits
        longest = limits.answer_s if self.has_unsent else limits.request_s
        if not limits.idle_s and not longest:
            return
        now = time.monotonic()
        if self.has_unsent or not self.reader.is_between_requests:
            self._begun = self._begun or now
        else:
            self._begun = None
        idle = now + limits.idle_s if limits.idle_s else _NEVER
        self.deadline = min(idle, self._begun + longest if longest and self._begun else _NEVER)

    def is_served(self) -> None:
        """Set the deadline: it is the server's turn."""
        self.deadline, self._begun = _NEVER, None

    def cut(self) -> None:
        """End the connection from another thread: its owner, or who waits for it, finds it closed."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def drain(self, timeout_s: float) -> None:
        """Send the rest, and wait for that."""
        if self._unsent is not None:
            with contextlib.suppress(OSError):
                self._socket.settimeout(max(timeout_s, 0.001))
                self._socket.sendall(self._unsent)

    def close(self) -> None:
        """Free the socket."""
        self._socket.close()
