"""Reads HTTP/1.1 requests from a socket.

The standard library's server parses headers with its e-mail package, which costs more than a small model's run.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass

_METHODS = frozenset({"GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"})
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_REQUEST_LINE = re.compile(rb"([!-~]+) +([^ \r\n]+) +HTTP/(\d)\.(\d) *")
_HEADER_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_LARGEST_HEAD = 1 << 16
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Request:
    """A request: method, target as sent, body."""

    method: str
    target: str
    body: bytes


class ProtocolError(Exception):
    """What was read is no HTTP request; the connection ends after an answer with this status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Reader:
    """Reads requests from a connection; what comes after one is kept for the next.

    Attributes:
        keep_alive: whether the last request allows another.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = b""
        self.keep_alive = True

    def read(self) -> Request | None:
        """Return the next request, or None where the client has ended.

        Raises:
            ProtocolError: it is none.
        """
        head = self._head()
        if head is None:
            return None
        line, *lines = head.split(b"\n")
        match = _REQUEST_LINE.fullmatch(line.rstrip(b"\r"))
        if not match or match[3] != b"1":
            raise ProtocolError(400)
        headers = _headers(lines)
        connection = headers.get(b"connection", b"").lower()
        self.keep_alive = match[4] != b"0" and b"close" not in connection
        method = match[1].decode()
        if method not in _METHODS:
            raise ProtocolError(501)
        if headers.get(b"expect", b"").lower() == b"100-continue":
            self._connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        return Request(method, match[2].decode("utf-8", "replace"), self._body(headers))

    def _head(self) -> bytes | None:
        searched = 0
        while True:
            self._buffer = self._buffer.lstrip(b"\r\n") if not searched else self._buffer
            match = _HEAD_END.search(self._buffer, max(0, searched - 3))
            if match:
                head, self._buffer = self._buffer[: match.start()], self._buffer[match.end() :]
                return head
            searched = len(self._buffer)
            if searched > _LARGEST_HEAD:
                raise ProtocolError(400)
            if not self._more(_LARGEST_HEAD):
                return None

    def _body(self, headers: dict[bytes, bytes]) -> bytes:
        encoding = headers.get(b"transfer-encoding", b"").lower()
        if encoding not in (b"", b"identity"):
            if encoding != b"chunked":
                raise ProtocolError(501)
            return self._chunked()
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or len(length) > 18:
            raise ProtocolError(400)
        return self._exactly(int(length))

    def _chunked(self) -> bytes:
        parts: list[bytes] = []
        while True:
            size_text = self._line().partition(b";")[0].strip()
            if not re.fullmatch(rb"[0-9a-fA-F]{1,15}", size_text):
                raise ProtocolError(400)
            size = int(size_text, 16)
            if size == 0:
                while self._line():
                    pass
                return b"".join(parts)
            parts.append(self._exactly(size))
            if self._line():
                raise ProtocolError(400)

    def _line(self) -> bytes:
        while b"\n" not in self._buffer:
            if len(self._buffer) > _LARGEST_HEAD or not self._more(_LARGEST_HEAD):
                raise ProtocolError(400)
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.rstrip(b"\r")

    def _exactly(self, size: int) -> bytes:
        """Return the next bytes; memory is taken as they come, not as they are promised."""
        if len(self._buffer) >= size:
            found, self._buffer = self._buffer[:size], self._buffer[size:]
            return found
        parts, missing = [self._buffer], size - len(self._buffer)
        self._buffer = b""
        while missing:
            part = self._connection.recv(min(missing, _CHUNK))
            if not part:
                raise ProtocolError(400)
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def _more(self, size: int) -> bool:
        part = self._connection.recv(size)
        self._buffer += part
        return bool(part)


def _headers(lines: list[bytes]) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not _HEADER_NAME.fullmatch(name):
            raise ProtocolError(400)
        name = name.lower()
        if name == b"content-length" and found.get(name, value.strip()) != value.strip():
            raise ProtocolError(400)
        found[name] = value.strip()
    return found
