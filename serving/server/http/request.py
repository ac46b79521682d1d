"""Reads HTTP/1.1 requests from the bytes that a connection brings, as far as they have come.

The standard library's server parses headers with its e-mail package, which costs more than a small model's run.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from enum import Enum

_METHODS = frozenset({"GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"})
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_REQUEST_LINE = re.compile(rb"([!-~]+) +([^ \r\n]+) +HTTP/(\d)\.(\d) *")
_HEADER_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CHUNK_SIZE = re.compile(rb"[0-9a-fA-F]{1,15}")
_LONGEST_KNOWN_HEAD = 1 << 12
_LONGEST_CHUNK_LINE = 1 << 16
_RECEIVED_AT_ONCE = 1 << 16
_BODY_AT_ONCE = 1 << 20
_LARGEST_INFLATED = 100 << 20


@dataclass(frozen=True)
class Request:
    """A request.

    Attributes:
        target: as sent.
        headers: lower-case name -> value.
        sent_body: as sent.
        keep_alive: whether another may follow on the connection.
    """

    method: str
    target: str
    headers: Mapping[bytes, bytes]
    sent_body: bytes
    keep_alive: bool

    def body(self) -> bytes:
        """Return the body, inflated where it came compressed; a bad one counts as empty (rule 4.9)."""
        if b"gzip" in self.headers.get(b"content-encoding", b""):
            return _inflated(self.sent_body)
        return self.sent_body


class Wait(Enum):
    """Why there is no request yet."""

    FOR_BYTES = "more has to come"
    FOR_CONTINUE = "the client wants to be told to go on"


class ProtocolError(Exception):
    """What was read is no HTTP request; the connection ends after an answer with this status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Reader:
    """Takes bytes and gives requests; what comes after one is kept for the next.

    Args:
        largest_head, largest_body: in bytes, 0: no limit.

    Attributes:
        wanted: how many bytes are of use at once.
        is_between_requests: whether nothing of the next request has come.
    """

    def __init__(self, largest_head: int = 0, largest_body: int = 0) -> None:
        self._largest_head, self._largest_body = largest_head or 1 << 62, largest_body or 1 << 62
        self._buffer = bytearray()
        self._requests = self._read()
        self._known: tuple[bytes, _Head] | None = None
        self.wanted = _RECEIVED_AT_ONCE
        self.is_between_requests = True

    def feed(self, data: bytes) -> None:
        """Take what the connection brought."""
        self._buffer += data

    def next(self) -> Request | Wait:
        """Return the next request, or why there is none yet.

        Raises:
            ProtocolError: it is none; this reader is of no more use.
        """
        return next(self._requests)

    def _read(self) -> Generator[Request | Wait, None, None]:
        while True:
            head = yield from self._head()
            self.is_between_requests = False
            if head.waits:
                yield Wait.FOR_CONTINUE
            # the body has no name here: it would be kept until the next request is complete
            yield Request(head.method, head.target, head.headers, (yield from self._body(head)), head.keep_alive)

    def _body(self, head: _Head) -> Generator[Wait, None, bytes]:
        found = (yield from self._chunked()) if head.length is None else (yield from self._exactly(head.length))
        self.wanted = _RECEIVED_AT_ONCE
        return found

    def _head(self) -> Generator[Wait, None, _Head]:
        searched = 0
        while True:
            buffer = self._buffer
            if not searched and buffer.startswith((b"\r", b"\n")):
                buffer = self._buffer = buffer.lstrip(b"\r\n")
            match = _HEAD_END.search(buffer, max(0, searched - 3))
            end = match.start() if match else len(buffer)
            if end > self._largest_head:
                raise ProtocolError(400)
            if match:
                found = bytes(buffer[:end])
                del buffer[: match.end()]
                return self._parsed(found)
            searched = end
            self.is_between_requests = not searched
            yield Wait.FOR_BYTES

    def _parsed(self, head: bytes) -> _Head:
        """Return what a head says; a client on a kept-alive connection often sends the same one again."""
        if self._known is not None and self._known[0] == head:
            found = self._known[1]
        else:
            found = _parse(head)
            self._known = (head, found) if len(head) <= _LONGEST_KNOWN_HEAD else None
        if found.length and found.length > self._largest_body:
            raise ProtocolError(413)
        return found

    def _chunked(self) -> Generator[Wait, None, bytes]:
        parts: list[bytes] = []
        left = self._largest_body
        while True:
            size_text = (yield from self._line()).partition(b";")[0].strip()
            if not _CHUNK_SIZE.fullmatch(size_text):
                raise ProtocolError(400)
            size = int(size_text, 16)
            left -= size
            if left < 0:
                raise ProtocolError(413)
            if size == 0:
                while (yield from self._line()):
                    pass
                return b"".join(parts)
            parts.append((yield from self._exactly(size)))
            if (yield from self._line()):
                raise ProtocolError(400)

    def _line(self) -> Generator[Wait, None, bytes]:
        while b"\n" not in self._buffer:
            if len(self._buffer) > _LONGEST_CHUNK_LINE:
                raise ProtocolError(400)
            yield Wait.FOR_BYTES
        end = self._buffer.index(b"\n")
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line.rstrip(b"\r")

    def _exactly(self, size: int) -> Generator[Wait, None, bytes]:
        """Return the next bytes; memory is taken as they come, not as they are promised."""
        while len(self._buffer) < size:
            self.wanted = min(max(size - len(self._buffer), _RECEIVED_AT_ONCE), _BODY_AT_ONCE)
            yield Wait.FOR_BYTES
        if len(self._buffer) == size:
            found = bytes(self._buffer)
            self._buffer.clear()
        else:
            found = bytes(self._buffer[:size])
            del self._buffer[:size]
        return found


@dataclass(frozen=True)
class _Head:
    """What stands before a body; its length is None where it comes in chunks."""

    method: str
    target: str
    headers: Mapping[bytes, bytes]
    length: int | None
    keep_alive: bool
    waits: bool


def _parse(head: bytes) -> _Head:
    line, *lines = head.split(b"\n")
    match = _REQUEST_LINE.fullmatch(line.rstrip(b"\r"))
    if not match or match[3] != b"1":
        raise ProtocolError(400)
    headers = _headers(lines)
    method = match[1].decode()
    if method not in _METHODS:
        raise ProtocolError(501)
    return _Head(
        method,
        match[2].decode("utf-8", "surrogateescape"),
        headers,
        _length(headers),
        match[4] != b"0" and b"close" not in headers.get(b"connection", b"").lower(),
        headers.get(b"expect", b"").lower() == b"100-continue",
    )


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


def _length(headers: Mapping[bytes, bytes]) -> int | None:
    encoding = headers.get(b"transfer-encoding", b"").lower()
    if encoding == b"chunked":
        return None
    if encoding not in (b"", b"identity"):
        raise ProtocolError(501)
    length = headers.get(b"content-length", b"0")
    if not length.isdigit() or len(length) > 18:
        raise ProtocolError(400)
    return int(length)


def _inflated(data: bytes) -> bytes:
    """Return what gzip packed, or nothing: no more memory is taken than the last four bytes promise."""
    size = int.from_bytes(data[-4:], "little")
    if size > _LARGEST_INFLATED:
        return b""
    stream = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        found = stream.decompress(data, size + 1)
    except zlib.error:
        return b""
    return found if stream.eof and not stream.unused_data else b""
