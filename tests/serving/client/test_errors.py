"""Errors of the wire; how they look when a real server sends them is in test_grpc.py and test_rest.py."""

from __future__ import annotations

import pickle

import pytest

from pipeline.errors import RejectedError, ServerError, UnavailableError
from serving.client import errors

HERE = "http://host:8501"
REJECTED = (
    "INVALID_ARGUMENT", "FAILED_PRECONDITION", "OUT_OF_RANGE", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
    "UNAUTHENTICATED", "UNIMPLEMENTED",
)  # fmt: skip
UNAVAILABLE = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED", "CANCELLED")
STATUSES = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 409: "ABORTED",
    429: "RESOURCE_EXHAUSTED", 499: "CANCELLED", 500: "INTERNAL", 501: "UNIMPLEMENTED", 503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}  # fmt: skip


@pytest.mark.parametrize("code", REJECTED)
def test_request_is_to_blame_when_the_code_says_so(code: str) -> None:
    error = errors.of_code(HERE, code, "the server's text")
    assert type(error) is RejectedError
    assert (error.what, error.code) == ("http://host:8501 refuses the request", code)
    assert error.found == f"{code}: the server's text"
    assert error.todo


@pytest.mark.parametrize("code", UNAVAILABLE)
def test_moment_is_to_blame_when_the_code_says_so(code: str) -> None:
    error = errors.of_code(HERE, code, "the server's text")
    assert type(error) is UnavailableError
    assert (error.what, error.code) == ("http://host:8501 does not answer", code)
    assert error.found == f"{code}: the server's text"
    assert "try again" in error.todo


@pytest.mark.parametrize("code", ["INTERNAL", "UNKNOWN", "DATA_LOSS"])
def test_server_is_to_blame_when_the_code_says_so(code: str) -> None:
    error = errors.of_code(HERE, code, "")
    assert type(error) is ServerError
    assert str(error) == (
        f"http://host:8501 failed\n  found: {code}\n  what to do: look at the server's log: the fault is there"
    )


@pytest.mark.parametrize(("status", "code"), STATUSES.items())
def test_status_is_read_back_to_the_code_when_the_body_is_the_apis(status: int, code: str) -> None:
    error = errors.of_response(HERE, status, "application/json", b'{\n    "error": "the server\'s text"\n}')
    assert str(error) == str(errors.of_code(HERE, code, "the server's text"))
    assert error.code == code


def test_status_decides_when_the_body_is_empty() -> None:
    error = errors.of_response(HERE, 400, "application/json", b"")
    assert (type(error), error.found) == (RejectedError, "INVALID_ARGUMENT: HTTP 400 without a text")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, b"<html>\n<p>Bad  Request</p>"),
        (404, b"Not Found"),
        (500, b'{"message": "oops"}'),
        (404, b'["error"]'),
        (400, b'{"error": 7}'),
        (301, b'{"error": "moved"}'),
        (418, b""),
    ],
)
def test_server_is_no_model_server_when_the_body_is_not_the_apis(status: int, body: bytes) -> None:
    error = errors.of_response(HERE, status, "text/x", body)
    assert type(error) is ServerError
    assert error.what == "http://host:8501 answers something else than a model server"
    text = f"text/x: {' '.join(body.decode().split())}" if body else "an empty body"
    assert error.found == f"HTTP {status} with {text}"
    assert error.code == "UNKNOWN"
    assert error.todo.startswith("check that the address is that of a TF Serving API")


@pytest.mark.parametrize(("status", "code"), [(502, "UNAVAILABLE"), (503, "UNAVAILABLE"), (504, "DEADLINE_EXCEEDED")])
def test_proxy_that_finds_no_server_is_a_server_that_does_not_answer(status: int, code: str) -> None:
    error = errors.of_response(HERE, status, "", b"<h1>Gateway</h1>")
    assert (type(error), error.code) == (UnavailableError, code)
    assert error.found == f"{code}: HTTP {status} with an unnamed content type: <h1>Gateway</h1>"


def test_text_is_one_line_of_bounded_length_when_the_servers_is_not() -> None:
    assert (
        errors.of_code(HERE, "INTERNAL", "bad shape\n\t [[{{node x}}]]").found == "INTERNAL: bad shape [[{{node x}}]]"
    )
    assert errors.of_code(HERE, "INTERNAL", "x" * 5000).found == f"INTERNAL: {'x' * 1000} ..."
    assert len(errors.of_response(HERE, 200, "text/html", b"\xff" * 10**6).found) < 400


def test_error_survives_the_pipe_from_the_measuring_process() -> None:
    error = errors.of_code(HERE, "NOT_FOUND", "Servable not found")
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), copy.code) == (RejectedError, str(error), "NOT_FOUND")


@pytest.mark.parametrize(
    ("code", "words", "shed"),
    [
        ("RESOURCE_EXHAUSTED", "Server Threadpool Exhausted", True),
        ("UNAVAILABLE", "The batch scheduling queue to which this task was submitted is full", True),
        ("UNAVAILABLE", "failed to connect to all addresses", False),
        ("RESOURCE_EXHAUSTED", "CLIENT: Received message larger than max (5000000 vs. 4194304)", False),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded", False),
        ("INVALID_ARGUMENT", "the batch scheduling queue", False),
    ],
)
def test_refusal_of_one_request_too_many_is_told_from_other_failures(code: str, words: str, shed: bool) -> None:
    assert errors.is_shed(errors.of_code(HERE, code, words)) == shed


def test_error_that_is_no_servers_is_no_refusal() -> None:
    assert not errors.is_shed(ValueError("RESOURCE_EXHAUSTED"))
