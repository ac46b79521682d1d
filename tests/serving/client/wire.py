"""Servers on real sockets that answer what a test wants, for what a good model server never does."""

from __future__ import annotations

import contextlib
import json
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2, prediction_service_pb2_grpc

from pipeline.predictor import classifier

SPEC = classifier("image", (2, 2, 1), (0.0, 1.0), ("a", "b"))
METADATA: dict[str, Any] = {
    "inputs": {"image": {"dtype": "DT_FLOAT", "tensor_shape": {"dim": [{"size": s} for s in ("-1", "2", "2", "1")]}}},
    "outputs": {
        name: {"dtype": "DT_FLOAT", "tensor_shape": {"dim": [{"size": "-1"}, {"size": "2"}]}}
        for name in ("logits", "probabilities")
    },
}
ROW = {"logits": [1.0, -2.5], "probabilities": [0.75, 0.25]}


class Http(socketserver.ThreadingTCPServer):
    """Gives each request, as it came, to `answer`, which writes to the socket and says whether to go on."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, answer: Callable[[socket.socket, bytes], bool]) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.answer = answer
        self.connections = 0
        self.requests: list[bytes] = []
        self.address = f"http://127.0.0.1:{self.server_address[1]}"
        self.grpc_address = f"grpc://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that hang up are what is tested."""


class _Connection(socketserver.BaseRequestHandler):
    server: Http

    def handle(self) -> None:
        self.server.connections += 1
        while request := self._receive():
            self.server.requests.append(request)
            if not self.server.answer(self.request, request):
                return

    def _receive(self) -> bytes:
        received = b""
        while True:
            head, end, body = received.partition(b"\r\n\r\n")
            lengths = [int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if b"content-length:" in line]
            if end and len(body) >= sum(lengths):
                return received
            piece = self.request.recv(65536)
            if not piece:
                return b""
            received += piece


@contextlib.contextmanager
def http(answer: Callable[[socket.socket, bytes], bool]) -> Iterator[Http]:
    """Run an HTTP server on loopback."""
    with Http(answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def said(status: int, body: bytes, kind: str = "application/json") -> Callable[[socket.socket, bytes], bool]:
    """Answer every request with this, and keep the connection."""

    def answer(connection: socket.socket, _: bytes) -> bool:
        head = f"HTTP/1.1 {status} Text\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        return True

    return answer


def predictions(rows: Any) -> Callable[[socket.socket, bytes], bool]:
    """Answer every request with these rows, NaN and infinity among them."""
    return said(200, json.dumps({"predictions": rows}).encode())


def sends(text: bytes) -> Callable[[socket.socket, bytes], bool]:
    """Send these bytes, then hang up."""

    def answer(connection: socket.socket, _: bytes) -> bool:
        connection.sendall(text)
        return False

    return answer


def hangs(_: socket.socket, __: bytes) -> bool:
    """Answer nothing for a while."""
    time.sleep(3)
    return False


def drips(connection: socket.socket, _: bytes) -> bool:
    """Send a byte now and then."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n")
    for _byte in range(100):
        connection.sendall(b" ")
        time.sleep(0.05)
    return False


class Grpc(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Answers GetModelMetadata for SPEC, and Predict with `answer(request, context)`; counts the requests."""

    def __init__(self, answer: Callable[[Any, grpc.ServicerContext], Any]) -> None:
        self.answer = answer
        self.requests: list[Any] = []
        self.address = ""

    def Predict(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802 - the protocol's name
        self.requests.append(request)
        return self.answer(request, context)

    def GetModelMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ARG002, N802
        signature = meta_graph_pb2.SignatureDef()
        _end(signature.inputs["image"], (-1, 2, 2, 1))
        for name in ("logits", "probabilities"):
            _end(signature.outputs[name], (-1, 2))
        signatures = get_model_metadata_pb2.SignatureDefMap()
        signatures.signature_def["serving_default"].CopyFrom(signature)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.metadata["signature_def"].Pack(signatures)
        return response


@contextlib.contextmanager
def grpc_server(answer: Callable[[Any, grpc.ServicerContext], Any], port: int = 0) -> Iterator[Grpc]:
    """Run a gRPC server on loopback; port 0: any free one."""
    service = Grpc(answer)
    options = [("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", -1)]
    server = grpc.server(ThreadPoolExecutor(4), options=options)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(service, server)
    service.address = f"grpc://127.0.0.1:{server.add_insecure_port(f'127.0.0.1:{port}')}"
    server.start()
    try:
        yield service
    finally:
        server.stop(None).wait()


def row(*_: Any) -> Any:
    """Answer one row, in typed fields."""
    response = predict_pb2.PredictResponse()
    for name, values in ROW.items():
        tensor = response.outputs[name]
        tensor.dtype = types_pb2.DT_FLOAT
        tensor.float_val.extend(values)
        for size in (1, 2):
            tensor.tensor_shape.dim.add().size = size
    return response


def _end(tensor: Any, shape: tuple[int, ...]) -> None:
    tensor.dtype = types_pb2.DT_FLOAT
    for size in shape:
        tensor.tensor_shape.dim.add().size = size
