"""The connections between the workers of a job: they wait for each other, exchange values, and notice who is lost.

Worker 0 listens at its address until all have come, and keeps the connections when it listens no longer: so the same
port is free for TensorFlow's own server. What goes over them is one JSON value a line. Nothing is encrypted and nobody
is asked who he is, as with TensorFlow's servers: this is for a private network.
"""

from __future__ import annotations

import json
import queue
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from pipeline.compute.cluster import WAIT_S, Workers
from pipeline.errors import InputError, MissingError, RunError

_AGAIN_S = 0.3  # between two attempts to reach worker 0
_ANSWER_S = 10.0  # for the first line of who has come
_LINE = 2**24  # bytes, more than any message has
# a machine that vanished is noticed after about half a minute
_KEEPALIVE = (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 4))


class LostError(RunError):
    """Another worker has ended, so that nothing can be trained together any more."""


class Meeting:
    """All workers of a job, from when the last one came; made by `join`."""

    def __init__(self, workers: Workers, peers: dict[int, socket.socket]) -> None:
        self.workers = workers
        self.lost: LostError | None = None
        self._peers, self._said = peers, {index: queue.SimpleQueue[Any]() for index in peers}
        self._left: set[int] = set()
        self._turn = 0
        self._watchers: list[Callable[[LostError], object]] = []
        self._sending, self._losing = threading.Lock(), threading.Lock()
        for index, peer in peers.items():
            threading.Thread(target=self._listen, args=(index, peer), name=f"worker-{index}", daemon=True).start()

    @property
    def count(self) -> int:
        return len(self.workers.addresses)

    def gather(self, value: Any) -> list[Any]:
        """Return what each worker gives, in their order; all must call it, equally often.

        Args:
            value: what JSON can hold.

        Raises:
            LostError: one of them has ended.
        """
        self._turn += 1
        if not self.workers.first:
            self._send(0, {"turn": self._turn, "value": value})
            found = self._next(0)
            if len(found) != self.count:
                raise RunError("worker 0 answered for another number of workers", found=str(len(found)))
            return list(found)
        values = [value, *(self._next(index) for index in sorted(self._peers))]
        for index in self._peers:
            self._send(index, {"turn": self._turn, "value": values})
        return values

    def watch(self, lost: Callable[[LostError], object]) -> None:
        """Have a function called, in another thread, as soon as a worker is lost."""
        self._watchers.append(lost)
        if self.lost:
            lost(self.lost)

    def leave(self, problem: str = "") -> None:
        """Let the others know that this worker needs them no longer, or why it ends in the middle."""
        for index in self._peers:
            with suppress(OSError):
                self._send(index, {"leaves": problem})
        for peer in self._peers.values():
            with suppress(OSError):
                peer.shutdown(socket.SHUT_WR)

    def _next(self, index: int) -> Any:
        said = self._said[index].get()
        if isinstance(said, dict) and said.get("turn") == self._turn:
            return said["value"]
        self._said[index].put(said)
        raise self.lost or LostError(
            f"{self.workers.name(index)} is at another place of the job", expected=f"turn {self._turn}",
            found=json.dumps(said)[:100], todo=_AGAIN,
        )  # fmt: skip

    def _send(self, index: int, message: Any) -> None:
        try:
            with self._sending:
                self._peers[index].sendall(_line(message))
        except OSError as error:
            self._lose(index, error.strerror or str(error))
            if self.lost and "turn" in message:
                raise self.lost from None

    def _listen(self, index: int, peer: socket.socket) -> None:
        why = "it ended without a word: killed, or its machine or the network is gone"
        try:
            with peer.makefile("rb") as lines:
                while line := lines.readline(_LINE):
                    said = json.loads(line)
                    if "leaves" not in said:
                        self._said[index].put(said)
                    elif said["leaves"]:
                        why = said["leaves"]
                        break
                    else:
                        self._left.add(index)
                        self._said[index].put(said)
                        return
        except (OSError, ValueError, TypeError) as error:
            why = f"the connection broke: {error}"
        self._lose(index, why)

    def _lose(self, index: int, why: str) -> None:
        with self._losing:
            if self.lost or index in self._left:
                return
            self.lost = LostError(
                f"{self.workers.name(index)} is lost, and the others cannot go on without it", found=why, todo=_AGAIN
            )
        for other, said in self._said.items():
            said.put({"lost": index})
            if other != index:
                with suppress(OSError):
                    self._send(other, {"leaves": f"{self.workers.name(index)} is lost: {why}"})
        for lost in self._watchers:
            lost(self.lost)


_AGAIN = (
    "run the same command on every worker again: they go on from the last checkpoint that all of them have; "
    "log.txt of the lost worker may say what happened"
)


def join(workers: Workers, *, wait_s: float = WAIT_S, waiting: Callable[[str], object] = lambda _: None) -> Meeting:
    """Return the meeting of all workers, once all have come.

    Args:
        wait_s: seconds in which they must come.
        waiting: told, in words, for whom this one waits.

    Raises:
        MissingError: this worker's port is taken, or somebody has not come.
        InputError: the others were started with other addresses, or one of them twice.
    """
    deadline = time.monotonic() + wait_s
    with _listener(workers) as listener:
        if workers.first:
            waiting(f"waits for {_names(workers, range(1, len(workers.addresses)))}")
            return Meeting(workers, _received(workers, listener, deadline, wait_s))
    waiting(f"waits for {_names(workers, [0])}, and all the others")
    return Meeting(workers, {0: _reached(workers, deadline, wait_s)})


def _names(workers: Workers, indices: Any) -> str:
    return ", ".join(workers.name(index) for index in indices)


def _listener(workers: Workers) -> socket.socket:
    """Return a socket on this worker's port, on all interfaces, as TensorFlow's server will have it."""
    host, _, port = workers.addresses[workers.index].rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    try:
        return socket.create_server(("", int(port)), family=family)
    except OSError as error:
        raise MissingError(
            f"{workers.name(workers.index)} cannot listen on its port {port}", expected="a free port",
            found=error.strerror or str(error), todo="end who has it, or give this worker another address on all "
            "workers (a worker that was killed may need a moment)",
        ) from None  # fmt: skip


def _received(workers: Workers, listener: socket.socket, deadline: float, wait_s: float) -> dict[int, socket.socket]:
    peers: dict[int, socket.socket] = {}
    # one that was killed while others are awaited may be started again, and is awaited as they are
    while absent := [
        index for index in range(1, len(workers.addresses)) if index not in peers or not _alive(peers[index])
    ]:
        listener.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            peer, _ = listener.accept()
        except TimeoutError:
            raise _absent(workers, absent, wait_s, "no connection from there") from None
        peer.settimeout(_ANSWER_S)
        hello = _read(peer)
        if not isinstance(hello, dict) or "worker" not in hello:
            peer.close()  # somebody who looks which ports are open
            continue
        index, problem = hello["worker"], ""
        if hello.get("addresses") != list(workers.addresses):
            problem = f"worker 0 has {', '.join(workers.addresses)}"
        elif index in peers and _alive(peers[index]):
            problem = f"worker {index} is there already"
        if problem:
            with suppress(OSError):
                peer.sendall(_line({"refused": problem}))
            peer.close()
            raise _unequal(f"worker 0 was asked for by worker {index}", problem, f"{hello.get('addresses')}")
        if index in peers:
            peers[index].close()
        _keep(peer)
        peers[index] = peer
    for index, peer in peers.items():
        try:
            peer.sendall(_line({"go": True}))
        except OSError as error:
            raise _absent(workers, [index], wait_s, f"it has gone again: {error}") from None
    return peers


def _reached(workers: Workers, deadline: float, wait_s: float) -> socket.socket:
    host, _, port = workers.addresses[0].rpartition(":")
    why = "no answer"
    while (left := deadline - time.monotonic()) > 0:
        try:
            peer = socket.create_connection((host.strip("[]"), int(port)), timeout=min(left, _ANSWER_S))
        except OSError as error:
            why = error.strerror or str(error)
            time.sleep(_AGAIN_S)
            continue
        peer.settimeout(left)
        with suppress(OSError):
            peer.sendall(_line({"worker": workers.index, "addresses": list(workers.addresses)}))
        answer = _read(peer)
        if isinstance(answer, dict) and answer.get("go"):
            _keep(peer)
            return peer
        peer.close()
        if isinstance(answer, dict) and "refused" in answer:
            raise _unequal(f"{workers.name(0)} refuses this worker", answer["refused"], ", ".join(workers.addresses))
        # a worker 0 of an earlier start that is ending, or that had to stop while it waited for the others
        why = "it answered, and then waited for others in vain or ended"
        time.sleep(_AGAIN_S)
    raise _absent(workers, [0], wait_s, why)


def _keep(peer: socket.socket) -> None:
    peer.settimeout(None)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for name, value in _KEEPALIVE:
        if hasattr(socket, name):  # macOS calls them otherwise
            peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _alive(peer: socket.socket) -> bool:
    """Return whether a worker that waits, and so says nothing, is still there."""
    try:
        return bool(peer.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    except BlockingIOError:
        return True
    except OSError:
        return False


def _read(peer: socket.socket) -> Any:
    """Return the first line of a connection, byte by byte so that nothing behind it is lost; None: it is not ours."""
    line = b""
    try:
        while not line.endswith(b"\n") and len(line) < 2**16:
            byte = peer.recv(1)
            if not byte:
                return None
            line += byte
        return json.loads(line)
    except (OSError, ValueError):
        return None


def _line(message: Any) -> bytes:
    return json.dumps(message).encode() + b"\n"


def _absent(workers: Workers, indices: list[int], wait_s: float, why: str) -> MissingError:
    return MissingError(
        f"{_names(workers, indices)} did not come within {wait_s:g} s",
        expected="the same command on every worker, each with its own index, in any order",
        found=why, todo="look whether it was started, and whether the address can be reached from here (name, port, "
        "firewall); --wait says how long to wait",
    )  # fmt: skip


def _unequal(what: str, problem: str, found: str) -> InputError:
    return InputError(
        what, expected=problem, found=found, todo="give all workers the same addresses, and each its own index"
    )
