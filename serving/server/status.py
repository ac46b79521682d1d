"""What went wrong, by its canonical code, and what each protocol makes of it."""

from __future__ import annotations

from enum import IntEnum


class Code(IntEnum):
    """The canonical codes; the numbers are those of gRPC and of TensorFlow."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


HTTP = {
    Code.OK: 200, Code.CANCELLED: 499, Code.UNKNOWN: 500, Code.INVALID_ARGUMENT: 400, Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404, Code.ALREADY_EXISTS: 409, Code.PERMISSION_DENIED: 403, Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400, Code.ABORTED: 409, Code.OUT_OF_RANGE: 400, Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500, Code.UNAVAILABLE: 503, Code.DATA_LOSS: 500, Code.UNAUTHENTICATED: 401,
}  # fmt: skip
_LONGEST_GRPC_TEXT = 1024


class StatusError(Exception):
    """A request or a load that fails.

    Attributes:
        code: the canonical code.
        text: what a client is told, without the code's name.
    """

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(code, text)
        self.code, self.text = code, text

    def __str__(self) -> str:
        return f"{self.code.name}: {self.text}"


def invalid(text: str) -> StatusError:
    """Return an INVALID_ARGUMENT."""
    return StatusError(Code.INVALID_ARGUMENT, text)


def not_found(text: str) -> StatusError:
    """Return a NOT_FOUND."""
    return StatusError(Code.NOT_FOUND, text)


def grpc_text(text: str) -> str:
    """Return the text as gRPC carries it: at most 1024 bytes, then a mark that it was cut (rule 2.6)."""
    data = text.encode("utf-8", "replace")
    if len(data) <= _LONGEST_GRPC_TEXT:
        return data.decode()
    return data[:_LONGEST_GRPC_TEXT].decode("utf-8", "ignore") + "...TRUNCATED"
