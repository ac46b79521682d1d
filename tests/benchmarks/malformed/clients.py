"""Sends calls and compares the answers with what was expected."""

from __future__ import annotations

import base64
import json
import re
import socket
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

from tests.benchmarks.malformed.grpc_requests import GrpcCall
from tests.benchmarks.malformed.rest_requests import RestCall

_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Outcome:
    """What came back.

    Attributes:
        got: the code or the status; "wrong answer" where the outputs are not the right ones.
    """

    protocol: str
    kind: str
    expected: str
    got: str
    text: str = ""


class GrpcClient:
    """Sends bytes as they are, through gRPC's own client."""

    def __init__(self, port: int) -> None:
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1),
                   ("grpc.use_local_subchannel_pool", 1)]  # fmt: skip
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}", options)

    def send(self, call: GrpcCall) -> Outcome:
        """Return what the server answers."""
        invoke = self._channel.unary_unary(call.method, lambda data: data, lambda data: data)
        try:
            data = invoke(call.data, timeout=_TIMEOUT_S, metadata=call.headers)
        except grpc.RpcError as error:
            return Outcome("gRPC", call.kind, call.expected, error.code().name, error.details() or "")
        if call.outputs is not None:
            response = predict_pb2.PredictResponse.FromString(data)
            given = {alias: tf.make_ndarray(proto) for alias, proto in response.outputs.items()}
            if not _equal(given, call.outputs):
                return Outcome("gRPC", call.kind, call.expected, "wrong answer", str(given))
        return Outcome("gRPC", call.kind, call.expected, "OK")

    def close(self) -> None:
        """End the connection."""
        self._channel.close()


class RestClient:
    """Sends bytes over a connection that is kept as long as the server has to keep it."""

    def __init__(self, port: int) -> None:
        self._port, self._buffer = port, b""
        self._connection: socket.socket | None = None

    def send(self, call: RestCall) -> Outcome:
        """Return what the server answers."""
        expected = "none" if call.expected is None else str(call.expected)
        try:
            status, body = self._exchange(call)
        except OSError as error:
            self.close()
            return Outcome("REST", call.kind, expected, type(error).__name__, str(error))
        got, text = ("none", "") if status is None else (str(status), body.decode("utf-8", "replace"))
        if call.ends:
            if call.expected is not None and self._connection and self._connection.recv(1):
                got = "connection kept"
            self.close()
        if call.outputs is not None and got == "200" and not _answered(text, call.outputs):
            got = "wrong answer"
        return Outcome("REST", call.kind, expected, got, text)

    def close(self) -> None:
        """End the connection."""
        if self._connection:
            self._connection.close()
        self._connection, self._buffer = None, b""

    def _exchange(self, call: RestCall) -> tuple[int | None, bytes]:
        if self._connection is None:
            self._connection = socket.create_connection(("127.0.0.1", self._port), timeout=_TIMEOUT_S)
            self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection.sendall(call.data)
        if call.expected is None:
            return None, b""
        while not (match := re.match(rb"HTTP/1\.1 (\d+) .*?\r\n\r\n", self._buffer, re.DOTALL)):
            self._more()
        length = re.search(rb"(?i)\r\nContent-Length: *(\d+)", match[0])
        end = match.end() + (0 if call.data.startswith(b"HEAD") or not length else int(length[1]))
        while len(self._buffer) < end:
            self._more()
        body, self._buffer = self._buffer[match.end() : end], self._buffer[end:]
        if self._buffer:
            raise OSError(f"more than one answer: {self._buffer[:200]!r}")
        return int(match[1]), body

    def _more(self) -> None:
        assert self._connection
        part = self._connection.recv(1 << 20)
        if not part:
            raise OSError(f"the connection ended after {self._buffer[:200]!r}")
        self._buffer += part


def _equal(given: dict[str, Any], expected: dict[str, np.ndarray]) -> bool:
    return given.keys() == expected.keys() and all(
        np.shape(given[alias]) == array.shape
        and (np.array_equal(given[alias], array) if array.dtype == object else np.allclose(given[alias], array))
        for alias, array in expected.items()
    )


def _answered(text: str, expected: dict[str, np.ndarray]) -> bool:
    """Return whether a JSON answer has the outputs, in either form."""
    document = json.loads(text)
    if "predictions" in document:
        rows = document["predictions"]
        several = len(expected) > 1
        found = {alias: [row[alias] if several else row for row in rows] for alias in expected}
    else:
        found = document["outputs"] if len(expected) > 1 else dict.fromkeys(expected, document["outputs"])
    return _equal({alias: _array(found[alias], array) for alias, array in expected.items()}, expected)


def _array(value: Any, like: np.ndarray) -> Any:
    if like.dtype != object:
        return np.array(value)
    plain = [base64.b64decode(text["b64"]) if isinstance(text, dict) else text.encode() for text in value]
    return np.array(plain, object)
