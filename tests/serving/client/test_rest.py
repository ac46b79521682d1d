"""The REST client against servers on real sockets that fail in every way."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

import httpx
import numpy as np
import pytest

from pipeline.errors import RejectedError, ServerError, UnavailableError
from serving.client import rest
from serving.client.endpoint import Endpoint, connect, status
from serving.client.rest import RestPredictor
from tests.serving.client import wire
from tests.serving.client.test_errors import REJECTED, STATUSES, UNAVAILABLE

BATCH = np.arange(8, dtype=np.float32).reshape(2, 2, 2, 1)


def _predictor(address: str, deadline_s: float = 10) -> RestPredictor:
    return RestPredictor(Endpoint(address, "m", None, None, deadline_s), wire.SPEC)


def _read_back(array: np.ndarray) -> np.ndarray:
    return np.array(json.loads(rest.encode(array))["instances"], array.dtype)


def test_every_float32_comes_back_as_it_was() -> None:
    bits = np.random.default_rng(0).integers(0, 2**32, 200_000, np.uint32)
    random = bits.view(np.float32)
    limits = np.finfo(np.float32)
    corners = np.array([0.0, -0.0, limits.max, limits.min, limits.tiny, limits.smallest_subnormal, 0.1], np.float32)
    array = np.concatenate([random[np.isfinite(random)], corners])
    assert np.array_equal(_read_back(array).view(np.uint32), array.view(np.uint32))


@pytest.mark.parametrize("shape", [(), (3,), (2, 2, 3, 1), (0, 3), (2, 0)])
def test_rows_have_the_shape_of_the_batch(shape: tuple[int, ...]) -> None:
    array = np.ones(shape, np.float32)
    assert json.loads(rest.encode(array)) == {"instances": array.tolist()}


def test_rows_hold_what_json_has_no_word_for_as_the_api_reads_it() -> None:
    array = np.array([np.nan, np.inf, -np.inf, 0.5], np.float32)
    assert rest.encode(array) == b'{"instances":[NaN,Infinity,-Infinity,0.5]}'
    for zeros in ([-0.0], [[-0.0, 1], [1, 1]], -0.0):
        text = rest.encode(np.array(zeros, np.float32))
        assert text == json.dumps({"instances": np.array(zeros, float).tolist()}, separators=(",", ":")).encode()


def test_rows_hold_bools_and_strings_as_such() -> None:
    assert rest.encode(np.array([[True], [False]])) == b'{"instances":[[true],[false]]}'
    assert rest.encode(np.array(["a", '"'])) == b'{"instances":["a","\\""]}'
    assert rest.encode(np.array([b"\xff"])) == b'{"instances":[{"b64":"/w=="}]}'


def test_rows_are_refused_when_json_cannot_hold_the_type() -> None:
    with pytest.raises(TypeError, match="JSON cannot hold a complex"):
        rest.encode(np.zeros(1, complex))


@pytest.mark.parametrize(
    ("version", "label", "path"),
    [
        (None, None, "/v1/models/a%20b:predict"),
        (0, None, "/v1/models/a%20b/versions/0:predict"),
        (None, "x/y", "/v1/models/a%20b/labels/x%2Fy:predict"),
    ],
)
def test_request_names_what_the_endpoint_names_below_its_prefix(version: int, label: str, path: str) -> None:
    with wire.http(wire.predictions([wire.ROW])) as server:
        RestPredictor(Endpoint(f"{server.address}/pre/fix/", "a b", version, label, 5), wire.SPEC).predict(BATCH)
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.splitlines()[0] == f"POST /pre/fix{path} HTTP/1.1".encode()
    assert b"accept-encoding: identity" in head.lower()
    assert json.loads(body) == {"instances": BATCH.tolist()}


def test_answer_is_float32_of_both_outputs_with_what_is_not_finite() -> None:
    rows = [wire.ROW, {"logits": [float("nan"), float("-inf")], "probabilities": [1e-45, 1e38]}]
    with wire.http(wire.predictions(rows)) as server:
        answer = _predictor(server.address).predict(BATCH)
    assert {name: array.dtype for name, array in answer.items()} == {"logits": np.float32, "probabilities": np.float32}
    assert np.array_equal(answer["logits"], np.array([[1, -2.5], [np.nan, -np.inf]]), equal_nan=True)
    assert np.array_equal(answer["probabilities"], np.array([[0.75, 0.25], [1e-45, 1e38]], np.float32))


@pytest.mark.parametrize(
    "rows",
    [[1.0, 2.0], [[1.0, 2.0]], [{"logits": [1.0]}], {"logits": [[1.0]]}, None,
     [wire.ROW, {"logits": [1.0], "probabilities": [1.0]}]],
)  # fmt: skip
def test_answer_without_our_outputs_is_refused_and_shown(rows: Any) -> None:
    with wire.http(wire.predictions(rows)) as server, pytest.raises(ServerError) as caught:
        _predictor(server.address).predict(BATCH)
    assert caught.value.what == f"{server.address} answers something else than a model server"
    assert caught.value.expected == "predictions with logits and probabilities"
    assert caught.value.found == str({"predictions": rows})


@pytest.mark.parametrize(("code", "status"), [(code, status) for status, code in STATUSES.items()])
def test_error_has_the_servers_code_and_text_and_nothing_is_asked_twice(code: str, status: int) -> None:
    with wire.http(wire.said(status, b'{"error": "the server\'s text"}')) as server:
        with pytest.raises(ServerError) as caught:
            _predictor(server.address).predict(BATCH)
        assert len(server.requests) == 1
    kind = RejectedError if code in REJECTED else UnavailableError if code in UNAVAILABLE else ServerError
    assert type(caught.value) is kind
    assert (caught.value.code, caught.value.found) == (code, f"{code}: the server's text")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"", "Server disconnected without sending a response."),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "Server disconnected without sending a response."),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}",
         "peer closed connection without sending complete message body (received 2 bytes, expected 100)"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
         "peer closed connection without sending complete message body (incomplete chunked read)"),
    ],
    ids=["nothing", "head", "body", "chunks"],
)  # fmt: skip
def test_server_is_unavailable_when_it_hangs_up_and_nothing_is_asked_twice(text: bytes, found: str) -> None:
    with wire.http(wire.sends(text)) as server:
        with pytest.raises(UnavailableError) as caught:
            _predictor(server.address).predict(BATCH)
        assert len(server.requests) == 1
    assert (caught.value.code, caught.value.found) == ("UNAVAILABLE", f"UNAVAILABLE: {found}")
    assert caught.value.what == f"{server.address} does not answer"


def test_server_is_unavailable_when_it_resets_the_connection() -> None:
    def reset(connection: socket.socket, _: bytes) -> bool:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.close()
        return False

    with wire.http(reset) as server, pytest.raises(UnavailableError) as caught:
        _predictor(server.address).predict(BATCH)
    assert caught.value.found == "UNAVAILABLE: [Errno 104] Connection reset by peer"


def test_server_is_unavailable_at_once_when_nobody_listens() -> None:
    with pytest.raises(UnavailableError, match=r"http://127\.0\.0\.1:1 does not answer") as caught:
        status(Endpoint("http://127.0.0.1:1", "m", None, None, 10))
    assert caught.value.found == "UNAVAILABLE: [Errno 111] Connection refused"


@pytest.mark.parametrize("answer", [wire.hangs, wire.drips], ids=["silence", "drops"])
def test_deadline_is_kept_when_the_server_is_slow(answer: Any) -> None:
    with wire.http(answer) as server:
        start = time.monotonic()
        with pytest.raises(UnavailableError) as caught:
            _predictor(server.address, deadline_s=0.3).predict(BATCH)
        assert 0.25 < time.monotonic() - start < 1.5
    assert caught.value.code == "DEADLINE_EXCEEDED"


@pytest.mark.parametrize(
    ("kind", "body", "found"),
    [
        ("text/html", b"<html>\n Welcome", "HTTP 200 with text/html: <html> Welcome"),
        ("application/json", b"{", "HTTP 200 with application/json: {"),
        ("application/json", b"", "HTTP 200 with an empty body"),
        ("image/png", b"\xff\x00", "HTTP 200 with image/png: \N{REPLACEMENT CHARACTER}\x00"),
    ],
)
def test_server_is_no_model_server_when_its_answer_is_no_json(kind: str, body: bytes, found: str) -> None:
    with wire.http(wire.said(200, body, kind)) as server, pytest.raises(ServerError) as caught:
        _predictor(server.address).predict(BATCH)
    assert type(caught.value) is ServerError
    assert (caught.value.expected, caught.value.found) == ("an answer of TF Serving's API", found)


@pytest.mark.parametrize("text", [b"\x00\x00\x12\x04", b"SSH-2.0-OpenSSH_9.6\r\n\r\n"])
def test_server_is_no_model_server_when_it_speaks_no_http(text: bytes) -> None:
    with wire.http(wire.sends(text + b"\r\n" * 2)) as server, pytest.raises(ServerError) as caught:
        _predictor(server.address).predict(BATCH)
    assert type(caught.value) is ServerError
    assert "illegal" in caught.value.found


def test_address_is_no_model_server_when_it_is_no_url() -> None:
    with pytest.raises(ServerError, match=r"answers something else than a model server\n.*\n  found: Invalid"):
        _predictor("http://[:::1:1:]:80").predict(BATCH)


def test_connection_is_one_that_is_kept_and_sends_small_requests_at_once() -> None:
    with wire.http(wire.predictions([wire.ROW])) as server:
        predictor = _predictor(server.address)
        for _ in range(5):
            predictor.predict(BATCH)
        response = predictor._transport.handle_request(httpx.Request("GET", server.address))
        own = response.extensions["network_stream"].get_extra_info("socket")
        assert own.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        response.read()
        assert server.connections == 1
        predictor.close()


def test_connection_is_made_anew_when_the_server_closed_it_meanwhile() -> None:
    def once(connection: socket.socket, request: bytes) -> bool:
        wire.predictions([wire.ROW])(connection, request)
        return False

    with wire.http(once) as server:
        predictor = _predictor(server.address)
        for _ in range(3):
            assert predictor.predict(BATCH)["logits"].tolist() == [[1.0, -2.5]]
            time.sleep(0.1)
        assert (server.connections, len(server.requests)) == (3, 3)


def test_proxy_of_the_environment_is_passed_by(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with wire.http(wire.predictions([wire.ROW])) as server:
        assert _predictor(server.address).predict(BATCH)["logits"].tolist() == [[1.0, -2.5]]


def test_model_is_refused_when_the_answer_about_it_is_not_the_apis() -> None:
    with wire.http(wire.said(200, b'{"hello": "world"}')) as server:
        endpoint = Endpoint(server.address, "m", None, None, 5)
        with pytest.raises(ServerError, match=r"expected: the model's metadata\n  found: {'hello': 'world'}"):
            connect(endpoint, wire.SPEC)
        with pytest.raises(ServerError, match=r"expected: the states of the model's versions\n  found: {'hello'"):
            status(endpoint)


def test_model_is_connected_when_its_metadata_is_the_specs() -> None:
    metadata = {"metadata": {"signature_def": {"signature_def": {"serving_default": wire.METADATA}}}}
    with wire.http(wire.said(200, json.dumps(metadata).encode())) as server:
        connect(Endpoint(server.address, "m", 3, None, 5), wire.SPEC).close()
    assert server.requests[0].startswith(b"GET /v1/models/m/versions/3/metadata HTTP/1.1\r\n")


def test_states_of_all_versions_are_read_whatever_version_the_endpoint_names() -> None:
    states = [
        {"version": "2", "state": "END", "status": {"error_code": "NOT_FOUND", "error_message": "gone"}},
        {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}},
    ]
    with wire.http(wire.said(200, json.dumps({"model_version_status": states}).encode())) as server:
        found = status(Endpoint(server.address, "m", 3, None, 5))
    assert {version: (state.name, state.code, state.error) for version, state in found.items()} == {
        2: ("END", "NOT_FOUND", "gone"),
        1: ("AVAILABLE", "OK", ""),
    }
    assert server.requests[0].startswith(b"GET /v1/models/m HTTP/1.1\r\n")
