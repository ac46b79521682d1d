"""A call on the core of grpcio, from its arrival to its answer; see `server` for why."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from grpc._cython import cygrpc

from serving.server.status import Code, StatusError, grpc_text

log = logging.getLogger(__name__)

_NO_DEADLINE_S = 1e9  # what the core says instead is further away


@dataclass(frozen=True)
class Method:
    """What answers the calls of a path.

    Attributes:
        answer: returns the answer for a request, both serialized; raises StatusError.
        stream: the answer is the first of a stream, which then stays open until the client or the server ends.
        waits: the answer may take as long as the client waits for it.
    """

    answer: Callable[[bytes, Call], bytes]
    stream: bool = False
    waits: bool = False


class Answer(NamedTuple):
    """An answer, or an error instead of one.

    Attributes:
        operations: what sends it.
        stays: it is the first of a stream that stays open.
    """

    operations: tuple[Any, ...]
    stays: bool = False


class Call:
    """A call that a client waits for.

    Attributes:
        method: what answers it.
        closed: the client has gone, where `when_closed` was asked for.
    """

    __slots__ = ("_call", "_deadline", "closed", "method")

    def __init__(self, event: Any, method: Method) -> None:
        self.method, self.closed = method, False
        self._call, self._deadline = event.call, event.call_details.deadline

    def time_remaining(self) -> float | None:
        """Return the seconds that are left of the client's deadline, or None where it has none."""
        left_s: float = self._deadline - time.time()
        return left_s if left_s < _NO_DEADLINE_S else None

    def is_active(self) -> bool:
        """Return whether the client still waits, as far as that is known."""
        left_s = self.time_remaining()
        return not self.closed and (left_s is None or left_s > 0)

    def receive(self) -> None:
        """Ask for the request; the call itself is the tag of the event that brings it."""
        self._call.start_server_batch((cygrpc.ReceiveMessageOperation(0),), self)

    def answer(self, request: bytes) -> Answer:
        """Return the answer; it is not sent yet."""
        try:
            answer = self.method.answer(request, self)
        except StatusError as failure:
            error = failure
        except Exception as failure:  # one call fails, the server goes on
            log.exception("a call failed")
            error = StatusError(Code.INTERNAL, f"{type(failure).__name__}: {failure}")
        else:
            first = (cygrpc.SendInitialMetadataOperation(None, 0), cygrpc.SendMessageOperation(answer, 0))
            return Answer(first, stays=True) if self.method.stream else Answer((*first, *_status(Code.OK, "")))
        return _failure(error)

    def send(self, answer: Answer) -> None:
        """Send an answer."""
        self._call.start_server_batch(answer.operations, None)

    def fail(self, error: StatusError) -> None:
        """Send an error instead of an answer."""
        self.send(_failure(error))

    def end(self, error: StatusError) -> None:
        """End a stream."""
        self.send(Answer(_status(error.code, error.text)))

    def when_closed(self, tag: object) -> None:
        """Ask for an event with this tag once the client has gone."""
        self._call.start_server_batch((cygrpc.ReceiveCloseOnServerOperation(0),), tag)


def _failure(error: StatusError) -> Answer:
    return Answer((cygrpc.SendInitialMetadataOperation(None, 0), *_status(error.code, error.text)))


def _status(code: Code, text: str) -> tuple[Any, ...]:
    return (cygrpc.SendStatusFromServerOperation(None, int(code), grpc_text(text).encode(), 0),)
