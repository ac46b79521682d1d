"""Clients that cost as little as they can: a request is made once, as bytes, and sent again and again.

As a process of its own, without TensorFlow: `python -m tests.benchmarks.clients` reads a Task in JSON from its standard
input and says "ready"; each line after it, "count 200" or "seconds 2", is answered with an Outcome in JSON.
"""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import grpc

PREDICT = "/tensorflow.serving.PredictionService/Predict"
_SHED_GRPC = ("RESOURCE_EXHAUSTED", "UNAVAILABLE")
_SHED_HTTP = (b"429", b"503")
_DEADLINE_S = 30


class ShedError(Exception):
    """The server has too much to do and says so."""


class GrpcClient:
    """One channel."""

    def __init__(self, port: int, path: str) -> None:
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.use_local_subchannel_pool", 1)])
        self._call = self._channel.unary_unary(path)

    def ask(self, request: bytes) -> bytes:
        """Return the answer.

        Raises:
            ShedError: the server refuses for lack of room.
        """
        try:
            answer: bytes = self._call(request, timeout=_DEADLINE_S)
        except grpc.RpcError as error:
            if error.code().name in _SHED_GRPC:
                raise ShedError from None
            raise
        return answer

    def close(self) -> None:
        self._channel.close()


class RestClient:
    """One kept-alive connection; `path` is that of the POST."""

    def __init__(self, port: int, path: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=_DEADLINE_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: "

    def ask(self, request: bytes) -> bytes:
        """Return the body of the answer.

        Raises:
            ShedError: the server refuses for lack of room.
        """
        self._socket.sendall(f"{self._head}{len(request)}\r\n\r\n".encode() + request)
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._more()
        head, _, body = data.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        while len(body) < length:
            body += self._more()
        status = head.split(b" ", 2)[1]
        if status in _SHED_HTTP:
            raise ShedError
        if status != b"200":
            raise RuntimeError(f"{status!r}: {body!r}")
        return body

    def close(self) -> None:
        self._socket.close()

    def _more(self) -> bytes:
        data = self._socket.recv(1 << 16)
        if not data:
            raise ConnectionError("the server closed the connection")
        return data


CLIENTS: dict[str, type[GrpcClient] | type[RestClient]] = {"gRPC": GrpcClient, "REST": RestClient}


@dataclass
class Task:
    """What a client asks.

    Attributes:
        request, expected: the bytes that are sent and those that have to come back.
    """

    protocol: str
    port: int
    path: str
    request: bytes
    expected: bytes

    def dumps(self) -> str:
        """Return it as one line of JSON."""
        return json.dumps(asdict(self), default=lambda data: base64.b64encode(data).decode())

    @classmethod
    def loads(cls, text: str) -> Self:
        """Return what `dumps` made."""
        given = json.loads(text)
        return cls(**given | {name: base64.b64decode(given[name]) for name in ("request", "expected")})

    def connect(self) -> Any:
        """Return a client for it."""
        return CLIENTS[self.protocol](self.port, self.path)


@dataclass
class Outcome:
    """What became of a client's requests.

    Attributes:
        times_s: of those that were answered.
        others: answers other than the expected bytes, in hex, and how often they came.
    """

    times_s: list[float] = field(default_factory=list)
    shed: int = 0
    others: dict[str, int] = field(default_factory=dict)


def ask(client: Any, task: Task, count: int | None = None, seconds: float | None = None) -> Outcome:
    """Send requests one after another, so many or for so long."""
    outcome = Outcome()
    clock = time.perf_counter
    end = clock() + seconds if seconds is not None else float("inf")
    while (count is None or len(outcome.times_s) < count) and (started := clock()) < end:
        try:
            answer = client.ask(task.request)
        except ShedError:
            outcome.shed += 1
            continue
        outcome.times_s.append(clock() - started)
        if answer != task.expected:
            outcome.others[answer.hex()] = outcome.others.get(answer.hex(), 0) + 1
    return outcome


def main() -> None:
    """Ask as often, or for as long, as each line says."""
    task = Task.loads(sys.stdin.readline())
    client = task.connect()
    print("ready", flush=True)
    for line in sys.stdin:
        kind, number = line.split()
        outcome = ask(client, task, **({"count": int(number)} if kind == "count" else {"seconds": float(number)}))
        print(json.dumps(asdict(outcome)), flush=True)


class Worker:
    """A client in a process of its own; a context manager that ends it."""

    def __init__(self, task: Task) -> None:
        command = [sys.executable, "-m", "tests.benchmarks.clients"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._say(task.dumps())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def wait(self) -> None:
        """Wait until it is connected."""
        self._hear()

    def begin(self, *, count: int | None = None, seconds: float | None = None) -> None:
        """Let it ask so many times, or for so long."""
        self._say(f"count {count}" if count is not None else f"seconds {seconds}")

    def outcome(self) -> Outcome:
        """Return what became of it."""
        return Outcome(**json.loads(self._hear()))

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _hear(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("a client failed")
        return line


if __name__ == "__main__":
    main()
