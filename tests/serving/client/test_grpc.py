"""The gRPC client against servers in this process that fail in every way."""

from __future__ import annotations

import time
from typing import Any

import grpc
import numpy as np
import pytest
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import predict_pb2

from pipeline.errors import RejectedError, ServerError, UnavailableError
from serving.client.endpoint import Endpoint, connect
from serving.client.grpc import GrpcPredictor
from tests.serving.client import wire
from tests.serving.client.test_errors import REJECTED, UNAVAILABLE

BATCH = np.arange(8, dtype=np.float32).reshape(2, 2, 2, 1)


def _endpoint(address: str, deadline_s: float = 10) -> Endpoint:
    return Endpoint(address, "m", None, None, deadline_s)


def _predictor(address: str, deadline_s: float = 10) -> GrpcPredictor:
    return GrpcPredictor(_endpoint(address, deadline_s), wire.SPEC)


def test_request_is_tensor_content_and_says_what_the_endpoint_says() -> None:
    with wire.grpc_server(wire.row) as server:
        GrpcPredictor(Endpoint(server.address, "m", 0, None, 5), wire.SPEC).predict(BATCH)
        GrpcPredictor(Endpoint(server.address, "m", None, "canary", 5), wire.SPEC).predict(BATCH)
        GrpcPredictor(Endpoint(server.address, "m", None, None, 5), wire.SPEC).predict(BATCH)
    numbered, labelled, newest = server.requests
    assert (numbered.model_spec.WhichOneof("version_choice"), numbered.model_spec.version.value) == ("version", 0)
    assert labelled.model_spec.version_label == "canary"
    assert newest.model_spec.WhichOneof("version_choice") is None
    assert newest.model_spec.name == "m"
    tensor = newest.inputs["image"]
    assert tensor.dtype == types_pb2.DT_FLOAT
    assert [dim.size for dim in tensor.tensor_shape.dim] == [2, 2, 2, 1]
    assert tensor.tensor_content == BATCH.tobytes()


def test_values_of_one_request_do_not_stay_for_the_next() -> None:
    with wire.grpc_server(wire.row) as server:
        predictor = _predictor(server.address)
        for batch in (BATCH, BATCH + 1, np.array([b"a"]), np.array([b"b"])):
            predictor.predict(batch)
    assert server.requests[1].inputs["image"].tensor_content == (BATCH + 1).tobytes()
    assert [list(request.inputs["image"].string_val) for request in server.requests[2:]] == [[b"a"], [b"b"]]


def test_requests_of_many_shapes_are_each_right() -> None:
    with wire.grpc_server(wire.row) as server:
        predictor = _predictor(server.address)
        for size in (*range(100), 3):
            predictor.predict(np.zeros((size, 2), np.float32))
    assert [request.inputs["image"].tensor_shape.dim[0].size for request in server.requests] == [*range(100), 3]


@pytest.mark.parametrize("code", [*REJECTED, *UNAVAILABLE, "INTERNAL", "UNKNOWN", "DATA_LOSS"])
def test_error_has_the_servers_code_and_text_and_nothing_is_asked_twice(code: str) -> None:
    def refuse(_: Any, context: grpc.ServicerContext) -> None:
        context.abort(grpc.StatusCode[code], "the server's text")

    with wire.grpc_server(refuse) as server:
        with pytest.raises(ServerError) as caught:
            _predictor(server.address).predict(BATCH)
        assert len(server.requests) == 1
    kind = RejectedError if code in REJECTED else UnavailableError if code in UNAVAILABLE else ServerError
    assert type(caught.value) is kind
    assert (caught.value.code, caught.value.found) == (code, f"{code}: the server's text")
    assert caught.value.what.startswith(f"{server.address} ")


def test_deadline_is_kept_when_the_server_hangs() -> None:
    def hang(_: Any, context: grpc.ServicerContext) -> Any:
        while context.is_active():
            time.sleep(0.01)

    with wire.grpc_server(hang) as server:
        predictor = _predictor(server.address, deadline_s=0.3)
        start = time.monotonic()
        with pytest.raises(UnavailableError) as caught:
            predictor.predict(BATCH)
        assert 0.25 < time.monotonic() - start < 2
    assert caught.value.code == "DEADLINE_EXCEEDED"
    assert "Deadline Exceeded" in caught.value.found
    assert caught.value.todo == "try again, or allow more time with serving.request_deadline_s"


def test_server_is_unavailable_at_once_when_nobody_listens() -> None:
    start = time.monotonic()
    with pytest.raises(UnavailableError, match=r"grpc://127\.0\.0\.1:1 does not answer") as caught:
        connect(_endpoint("grpc://127.0.0.1:1"), wire.SPEC)
    assert time.monotonic() - start < 2
    assert caught.value.code == "UNAVAILABLE"
    assert "Connection refused" in caught.value.found


@pytest.mark.parametrize("text", [b"", b"no HTTP at all\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_server_is_unavailable_when_it_speaks_no_grpc(text: bytes) -> None:
    with wire.http(wire.sends(text)) as server, pytest.raises(ServerError) as caught:
        connect(_endpoint(server.grpc_address, deadline_s=2), wire.SPEC)
    assert caught.value.code in ("UNAVAILABLE", "DEADLINE_EXCEEDED")


def test_server_that_was_started_again_is_found_again() -> None:
    with wire.grpc_server(wire.row) as server:
        predictor = connect(_endpoint(server.address), wire.SPEC)
        predictor.predict(BATCH)
    for _ in range(3):
        with pytest.raises(UnavailableError):
            predictor.predict(BATCH)
        time.sleep(0.1)
    with wire.grpc_server(wire.row, port=int(server.address.rpartition(":")[2])):
        start = time.monotonic()
        while True:
            try:
                predictor.predict(BATCH)
                break
            except UnavailableError:
                assert time.monotonic() - start < 2
                time.sleep(0.05)


def test_proxy_of_the_environment_is_passed_by(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with wire.grpc_server(wire.row) as server:
        assert connect(_endpoint(server.address), wire.SPEC).predict(BATCH)["logits"].tolist() == [[1.0, -2.5]]


def test_requests_and_answers_larger_than_grpcs_default_limit_pass() -> None:
    def large(request: Any, _: grpc.ServicerContext) -> Any:
        response = predict_pb2.PredictResponse()
        for name in ("logits", "probabilities"):
            response.outputs[name].CopyFrom(request.inputs["image"])
        return response

    batch = np.ones((1, 1_500_000), np.float32)
    with wire.grpc_server(large) as server:
        assert _predictor(server.address).predict(batch)["logits"].shape == (1, 1_500_000)


def test_answer_without_our_outputs_is_refused_with_those_that_came() -> None:
    def one(*_: Any) -> Any:
        response = wire.row()
        response.outputs["scores"].CopyFrom(response.outputs["logits"])
        del response.outputs["logits"]
        return response

    with wire.grpc_server(one) as server, pytest.raises(ServerError) as caught:
        _predictor(server.address).predict(BATCH)
    assert (caught.value.expected, caught.value.found) == (
        "outputs logits and probabilities", "outputs probabilities and scores",
    )  # fmt: skip


def test_answer_of_strings_is_refused() -> None:
    def strings(*_: Any) -> Any:
        response = wire.row()
        response.outputs["logits"].dtype = types_pb2.DT_STRING
        return response

    with wire.grpc_server(strings) as server, pytest.raises(ServerError, match="found: a tensor of DT_STRING"):
        _predictor(server.address).predict(BATCH)
