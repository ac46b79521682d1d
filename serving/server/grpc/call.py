"""A call on the core of grpcio, from its arrival to its answer; see `server` for why."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from grpc._cython import cygrpc

from serving.server.status import Code, StatusError, grpc_text

_NO_DEADLINE_S = 1e9  # what the core says instead is further away


@dataclass(frozen=True)
class Method:
    """What answers the calls of a path.

    Attributes:
        answer: returns the answer for a request, both serialized; raises StatusError.
        stream: the answer is the first of a stream, which then stays open until the client or the server ends.
    """

    answer: Callable[[bytes, Call], bytes]
    stream: bool = False


class Call:
    """A call that a client waits for.

    Attributes:
        method: what answers it.
    """

    __slots__ = ("_call", "_deadline", "method")

    def __init__(self, event: Any, method: Method) -> None:
        self.method = method
        self._call, self._deadline = event.call, event.call_details.deadline

    def time_remaining(self) -> float | None:
        """Return the seconds that are left of the client's deadline, or None where it has none."""
        left_s: float = self._deadline - time.time()
        return left_s if left_s < _NO_DEADLINE_S else None

    def is_active(self) -> bool:
        """Return whether the client may still wait."""
        left_s = self.time_remaining()
        return left_s is None or left_s > 0

    def receive(self) -> None:
        """Ask for the request; the call itself is the tag of the event that brings it."""
        self._call.start_server_batch((cygrpc.ReceiveMessageOperation(0),), self)

    def answer(self, request: bytes) -> bool:
        """Answer; return whether it is a stream that stays open."""
        try:
            answer = self.method.answer(request, self)
        except StatusError as error:
            self.fail(error)
        except Exception as error:  # noqa: BLE001  one call fails, the server goes on
            traceback.print_exc(file=sys.stderr)
            self.fail(StatusError(Code.INTERNAL, f"{type(error).__name__}: {error}"))
        else:
            first = (cygrpc.SendInitialMetadataOperation(None, 0), cygrpc.SendMessageOperation(answer, 0))
            self._send(first if self.method.stream else (*first, *_status(Code.OK, "")))
            return self.method.stream
        return False

    def fail(self, error: StatusError) -> None:
        """Send an error instead of an answer."""
        self._send((cygrpc.SendInitialMetadataOperation(None, 0), *_status(error.code, error.text)))

    def end(self, error: StatusError) -> None:
        """End a stream."""
        self._send(_status(error.code, error.text))

    def when_closed(self, tag: object) -> None:
        """Ask for an event with this tag once the client has gone."""
        self._call.start_server_batch((cygrpc.ReceiveCloseOnServerOperation(0),), tag)

    def _send(self, operations: Sequence[Any]) -> None:
        self._call.start_server_batch(operations, None)


def _status(code: Code, text: str) -> tuple[Any, ...]:
    return (cygrpc.SendStatusFromServerOperation(None, int(code), grpc_text(text).encode(), 0),)
