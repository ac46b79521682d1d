"""A gRPC server for calls of one request, on the completion queue of grpcio's core.

`grpc.server` hands each call to and fro between the thread that polls and one of a pool, three times, for the
interpreter's lock each time: for a small model that takes longer than the model (tests/benchmarks/README.md). Here the
thread that takes a request from the queue answers it, and another one polls meanwhile.

`grpc._cython.cygrpc` is what grpc.server itself is made of. It is no public interface: what leans on it is in this
module and in `call`, and tests/serving/server/test_grpc_server.py holds it to what is relied on.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from grpc._cython import cygrpc

from serving.server.grpc.call import Answer, Call, Method
from serving.server.status import Code, StatusError

log = logging.getLogger(__name__)

_OPTIONS: dict[str, int | str] = {
    "grpc.max_receive_message_length": -1,
    "grpc.max_send_message_length": -1,
    "grpc.so_reuseport": 0,
}
_NEW, _STOPPED = "new call", "stopped"  # tags of events; that of a request is its call
_ACCEPTED_AHEAD = 8  # calls that the core may hand over before the next one is asked for
_POLLERS = 2  # with one, each call would have to wake another; more wake each other for nothing
_LAST_WORDS_S = 0.5


def _unimplemented(*_: object) -> bytes:
    raise StatusError(Code.UNIMPLEMENTED, "")


_UNKNOWN = Method(_unimplemented)


@dataclass(frozen=True)
class _Closed:
    """Tag of the event that a stream's client has gone."""

    call: Call


class GrpcServer:
    """Listens and answers.

    Args:
        methods: by path, /PACKAGE.SERVICE/METHOD; other calls are UNIMPLEMENTED.
        addresses: HOST:PORT, or unix:PATH.
        threads: calls answered at the same time.
        queue: calls beyond them that may wait; all others are refused.
        options: of the core; they count more than ours.

    Raises:
        StatusError: an address cannot be had.
    """

    def __init__(
        self,
        methods: Mapping[str, Method],
        addresses: Sequence[str],
        threads: int,
        queue: int,
        options: Sequence[tuple[str, int | str]] = (),
    ) -> None:
        self._methods = {path.encode(): method for path, method in methods.items()}
        self._events = cygrpc.CompletionQueue()
        self._server = cygrpc.Server(tuple((_OPTIONS | dict(options)).items()), False)
        self._server.register_completion_queue(self._events)
        for address in addresses:
            self._listen(address)
        self._most, self._room = threads, queue
        self._lock = threading.Lock()
        self._unpark = threading.Condition(self._lock)
        self._polling = self._answering = self._parked = 0  # threads
        self._waiting: deque[tuple[Call, bytes]] = deque()
        self._streams: set[Call] = set()
        self._stopping, self._ended = False, threading.Event()
        self._server.start()
        with self._lock:
            for _ in range(_ACCEPTED_AHEAD):
                self._server.request_call(self._events, self._events, _NEW)
            for _ in range(_POLLERS):
                self._add_thread()

    def stop(self, deadline: float) -> None:
        """Take no more calls; return when the running ones are answered, or at the deadline (time.monotonic)."""
        with self._lock:
            self._stopping = True
            self._server.shutdown(self._events, _STOPPED)
            streams, self._streams = self._streams, set()
        for call in streams:
            call.end(_going())
        if not self._ended.wait(max(0.0, deadline - time.monotonic())):
            self._server.cancel_all_calls()
            self._ended.wait(_LAST_WORDS_S)

    def _listen(self, address: str) -> None:
        try:
            bound = self._server.add_http2_port(address.encode())
        except RuntimeError:
            bound = 0
        if not bound:
            raise StatusError(Code.UNKNOWN, f"cannot listen for gRPC on {address}: is it in use, or not ours?")

    def _add_thread(self) -> None:
        with contextlib.suppress(RuntimeError):  # out of threads: those that are there go on
            threading.Thread(target=self._work, name="grpc", daemon=True).start()
            self._polling += 1

    def _work(self) -> None:
        """Poll and answer. The queue is never shut down: to answer late would end the process then."""
        while True:
            event = None
            try:
                event = self._events.poll(None)
                self._handle(event)
            except Exception:  # whatever becomes of one call, the others are served
                log.exception("a call failed")
            del event  # with the request, which may be large
            if self._polling > _POLLERS:
                self._park()

    def _park(self) -> None:
        with self._lock:
            if self._polling > _POLLERS:
                self._polling -= 1
                self._parked += 1
                self._unpark.wait()

    def _handle(self, event: Any) -> None:
        tag = event.tag
        if type(tag) is Call:
            self._received(tag, event.batch_operations[0].message())
        elif tag is _NEW:
            self._accept(event)
        elif type(tag) is _Closed:
            with self._lock:
                self._streams.discard(tag.call)
            tag.call.closed = True
        elif tag is _STOPPED:
            self._ended.set()

    def _accept(self, event: Any) -> None:
        """Ask for the next call, and for the request of this one."""
        if not event.success:  # none came: the server stops
            return
        with self._lock:
            if not self._stopping:
                self._server.request_call(self._events, self._events, _NEW)
        call = Call(event, self._methods.get(event.call_details.method, _UNKNOWN))
        if call.method is _UNKNOWN:
            call.send(call.answer(b""))  # whatever its request is
        else:
            if call.method.waits:
                call.when_closed(_Closed(call))
            call.receive()

    def _received(self, call: Call, request: bytes | None) -> None:
        """Answer a call and those that wait for it; or let it wait; or refuse it (rule 9.2b)."""
        if request is None:  # the client went away, or ended without a request
            call.fail(StatusError(Code.INTERNAL, "No payload"))
            return
        with self._lock:
            if self._answering < self._most:
                self._answering += 1
                self._polling -= 1
                if not self._polling:
                    self._have_polled()
            elif len(self._waiting) < self._room:
                self._waiting.append((call, request))
                return
            else:
                call.fail(StatusError(Code.RESOURCE_EXHAUSTED, "Server Threadpool Exhausted"))
                return
        waiting: tuple[Call, bytes] | None = call, request
        while waiting:
            call, request = waiting
            answer = call.answer(request)
            waiting = self._next()  # before it is sent: who has an answer may ask again and must find room
            self._send(call, answer)

    def _next(self) -> tuple[Call, bytes] | None:
        """Return a call that waits; or None, then the thread may poll again."""
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._answering -= 1
            self._polling += 1
        return None

    def _have_polled(self) -> None:
        """Let another thread poll. One more than may answer at the same time is always enough."""
        if self._parked:
            self._parked -= 1
            self._polling += 1
            self._unpark.notify()
        else:
            self._add_thread()

    def _send(self, call: Call, answer: Answer) -> None:
        try:
            call.send(answer)
        except Exception:  # its client hears nothing; those that wait are answered
            log.exception("an answer cannot be sent")
            return
        if answer.stays:
            with self._lock:
                if not self._stopping:
                    self._streams.add(call)
                    call.when_closed(_Closed(call))
                    return
            call.end(_going())


def _going() -> StatusError:
    return StatusError(Code.UNAVAILABLE, "Server shutting down")
