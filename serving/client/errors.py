"""The one boundary where the wire's errors become ours: gRPC codes, HTTP statuses and broken connections.

    ServerError               INTERNAL, UNKNOWN, DATA_LOSS, and what is no answer of the API: look at the server
    ├── RejectedError         the request is at fault: INVALID_ARGUMENT, NOT_FOUND, ...
    └── UnavailableError      the moment is at fault: UNAVAILABLE, DEADLINE_EXCEEDED, ...

REST has no codes, so its statuses are read back by TF Serving's table. `found` starts with the code, then the server's
own words.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipeline.errors import RejectedError, ServerError, UnavailableError

if TYPE_CHECKING:
    import grpc
    import httpx

_REJECTED = frozenset(
    {"INVALID_ARGUMENT", "FAILED_PRECONDITION", "OUT_OF_RANGE", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
     "UNAUTHENTICATED", "UNIMPLEMENTED"}
)  # fmt: skip
_UNAVAILABLE = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED", "CANCELLED"})
# several codes share a status; this is the one that TF Serving's answers mean most often
_CODES = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 409: "ABORTED",
    429: "RESOURCE_EXHAUSTED", 499: "CANCELLED", 500: "INTERNAL", 501: "UNIMPLEMENTED", 503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}  # fmt: skip
# what a proxy says, in words of its own, when the server behind it does not answer
_GATEWAY = {502: "UNAVAILABLE", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED"}
# TF Serving's words where batching's queue is full
_FULL = "batch scheduling queue"
_API = "an answer of TF Serving's API"

_REFUSED = "change the request or the model: the server would refuse the same again"
_TODO = {
    "NOT_FOUND": "check the model's name, version and label, and that the server has loaded it",
    "UNAUTHENTICATED": "the server wants credentials, which modelmill does not send: ask one that does not",
    "PERMISSION_DENIED": "ask the server's owner for access",
    "UNAVAILABLE": "check that the server runs at this address, then try again",
    "DEADLINE_EXCEEDED": "try again, or allow more time with serving.request_deadline_s",
}
# characters that are shown: of the server's words, and of something unexpected
_WORDS, _TEXT = 1000, 300


def of_code(address: str, code: str, text: str) -> ServerError:
    """Return the error for a code by its gRPC name; `text` is the server's own."""
    words = " ".join(text.split())  # TensorFlow adds a line with the node, REST shows what it got in several
    found = f"{code}: {_cut(words, _WORDS)}" if words else code
    if code in _REJECTED:
        todo = _TODO.get(code, _REFUSED)
        return RejectedError(f"{address} refuses the request", code=code, found=found, todo=todo)
    if code in _UNAVAILABLE:
        todo = _TODO.get(code, "try again when the server has less to do")
        return UnavailableError(f"{address} does not answer", code=code, found=found, todo=todo)
    return ServerError(f"{address} failed", code=code, found=found, todo="look at the server's log: the fault is there")


def is_shed(error: BaseException) -> bool:
    """Return whether a server refused a request because it had too many, so that a later one may go well.

    RESOURCE_EXHAUSTED, such as "Server Threadpool Exhausted"; gRPC has the same code for a message above its limit,
    which no wait makes smaller. UNAVAILABLE is a dead server's too, so a full batching queue is known by its text.
    """
    if not isinstance(error, UnavailableError):
        return False
    if error.code == "RESOURCE_EXHAUSTED":
        return "larger than max" not in error.found
    return error.code == "UNAVAILABLE" and _FULL in error.found


def of_call(address: str, error: grpc.RpcError) -> ServerError:
    """Return the error for a gRPC call that failed."""
    return of_code(address, error.code().name, error.details() or "")


def of_response(address: str, status: int, kind: str, body: bytes) -> ServerError:
    """Return the error for an HTTP response other than 200; `kind` is its Content-Type."""
    code, text = _CODES.get(status), _text(body)
    if code is not None and (text is not None or not body):
        return of_code(address, code, text or f"HTTP {status} without a text")
    said = f"HTTP {status} with {_shown(kind, body)}"
    return of_code(address, _GATEWAY[status], said) if status in _GATEWAY else of_answer(address, _API, said)


def of_connection(address: str, error: httpx.HTTPError | httpx.InvalidURL) -> ServerError:
    """Return the error for an HTTP request without a whole response."""
    import httpx

    text = str(error) or type(error).__name__
    if isinstance(error, httpx.TimeoutException):
        return of_code(address, "DEADLINE_EXCEEDED", text)
    # h11 and httpcore have one type for a connection that was closed too early and for bytes that are no HTTP
    closed = isinstance(error, httpx.RemoteProtocolError) and ("closed connection" in text or "disconnected" in text)
    if closed or isinstance(error, httpx.NetworkError):
        return of_code(address, "UNAVAILABLE", text)
    return of_answer(address, _API, text)


def of_answer(address: str, expected: str, found: str) -> ServerError:
    """Return the error for an answer that is not what the API promises."""
    todo = "check that the address is that of a TF Serving API of this protocol, not of a proxy or of something else"
    what = f"{address} answers something else than a model server"
    return ServerError(what, code="UNKNOWN", expected=expected, found=found, todo=todo)


def of_content(address: str, kind: str, body: bytes) -> ServerError:
    """Return the error for a successful HTTP response that is no JSON; `kind` is its Content-Type."""
    return of_answer(address, _API, f"HTTP 200 with {_shown(kind, body)}")


@contextmanager
def parsing(address: str, expected: str, answer: object) -> Iterator[None]:
    """Turn what fails while an answer is taken apart inside the block into a ServerError that shows the answer."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise of_answer(address, expected, _cut(str(answer), _TEXT)) from error


def _text(body: bytes) -> str | None:
    """Return the text of an error of the API, None where it is none."""
    try:
        text = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError, IndexError):
        return None
    return text if isinstance(text, str) else None


def _shown(kind: str, body: bytes) -> str:
    if not body:
        return "an empty body"
    text = " ".join(body[: 4 * _TEXT].decode("utf-8", "replace").split())
    return f"{kind or 'an unnamed content type'}: {_cut(text, _TEXT)}"


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[:length]} ..."
