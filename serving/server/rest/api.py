"""The REST API: routes a request, answers it in JSON (rules 4.1 to 4.5)."""

from __future__ import annotations

import logging
import re
import time
from dataclasses import dataclass

from serving.server import examples
from serving.server.http.request import Request
from serving.server.http.server import Response, html_error
from serving.server.inference import Inference, chosen_outputs
from serving.server.rest import examples as rest_examples
from serving.server.rest import json as rest_json
from serving.server.rest import model as rest_model
from serving.server.rest import plain as rest_plain
from serving.server.rest import request as rest_request
from serving.server.rest import response as rest_response
from serving.server.rest import route as rest_route
from serving.server.rest.route import LARGEST_VERSION, NOWHERE, Route
from serving.server.servable import DEFAULT_SIGNATURE, Servable, Signature
from serving.server.status import HTTP, Code, StatusError, invalid

log = logging.getLogger(__name__)

_API = re.compile(r"/v1/.*", re.IGNORECASE | re.DOTALL)
# verb -> the method, and what writes its answer
_EXAMPLES = {
    "classify": (examples.CLASSIFY, rest_examples.classification),
    "regress": (examples.REGRESS, rest_examples.regression),
}
_CORS = (
    "Access-Control-Allow-Origin: *\r\nAccess-Control-Allow-Methods: POST, GET\r\n"
    "Access-Control-Allow-Headers: Content-Type\r\n"
)
_LIBEVENT_DEFAULT = "text/html; charset=ISO-8859-1"


@dataclass(frozen=True)
class Rest:
    """Answers HTTP requests.

    Attributes:
        timeout_ms: longest run of a request.
        cors: answer with CORS headers.
        metrics_path: where Prometheus finds the metrics, or None.
    """

    inference: Inference
    timeout_ms: int
    cors: bool = False
    metrics_path: str | None = None

    def handle(self, request: Request) -> Response:
        """Answer a request; errors are JSON below /v1/ and a page elsewhere."""
        path = request.target
        if not path.startswith("/"):
            path = re.sub(r"^https?://[^/]*", "", path)
        if self.metrics_path is not None and re.split("[?#]", path, maxsplit=1)[0] == self.metrics_path:
            return self._metrics(path)
        if not _API.fullmatch(path):
            return html_error(404)
        started = time.perf_counter()
        route, code, response = self._answer(request, path)
        api = route.verb if request.method == "POST" else ""
        self.inference.metrics.request(route.name, api, "REST", code, time.perf_counter() - started)
        return response

    def overloaded(self) -> Response:
        """Return the answer to a request that may not even wait."""
        return self._json(429, rest_response.error("Too many requests wait to be answered"))

    def _answer(self, request: Request, path: str) -> tuple[Route, Code, Response]:
        """Return where a request goes, how that ends, and its answer."""
        route = NOWHERE
        try:
            if request.method == "OPTIONS":
                return self._options(request)
            route = rest_route.find(request.method, path)
            return route, Code.OK, self._json(200, self._body(route, request, path))
        except _UnspeakableError:
            return route, Code.INVALID_ARGUMENT, self._json(400, b"")
        except StatusError as error:
            status = error
        except Exception as error:  # one request fails, the server goes on
            log.exception("a REST request failed")
            status = StatusError(Code.INTERNAL, f"{type(error).__name__}: {error}")
        return route, status.code, self._json(HTTP[status.code], rest_response.error(status.text))

    def _json(self, status: int, body: bytes) -> Response:
        return Response(status, body, headers=_CORS if self.cors else "")

    def _options(self, request: Request) -> tuple[Route, Code, Response]:
        """Answer what a browser asks before it lets a page call (rule 4.8)."""
        origin = request.headers.get(b"origin", b"")
        code = Code.OK if origin.startswith((b"http://", b"https://")) else Code.FAILED_PRECONDITION
        return NOWHERE, code, Response(HTTP[code], b"", _LIBEVENT_DEFAULT, _CORS if self.cors else "")

    def _metrics(self, path: str) -> Response:
        """Answer Prometheus (rule 4.10)."""
        if path != self.metrics_path:
            text = f"Unexpected path: {path}. Should be {self.metrics_path}"
            return Response(400, text.encode("utf-8", "surrogateescape"), "text/plain")
        return Response(200, self.inference.metrics.page(), "text/plain")

    def _body(self, route: Route, request: Request, path: str) -> bytes:
        if route.version is not None and route.version > LARGEST_VERSION:
            raise _UnspeakableError
        if request.method == "POST" and route.verb == "predict":
            return self._predict(route, request.body())
        if request.method == "POST" and route.verb in _EXAMPLES:
            return self._examples(route, request.body())
        if request.method == "POST" or route is NOWHERE:
            raise invalid(f"Malformed request: {request.method} {path}")
        if not route.name:
            raise invalid("Missing model name in request.")
        registry = self.inference.registry
        if route.verb == "metadata":
            return rest_model.metadata(registry.find(route.name, route.version, route.label))
        return rest_model.status(registry.statuses(route.name, route.version))

    def _predict(self, route: Route, body: bytes) -> bytes:
        """Answer :predict; the checks are in the order of rule 4.6."""
        plain = rest_plain.read(body)
        document = {} if plain else rest_json.parse(body)
        name = plain.signature_name if plain else rest_request.signature_name(document)
        servable = self.inference.registry.find(route.name, route.version, route.label)
        signature = _signature(servable, name or DEFAULT_SIGNATURE)
        inputs = plain.inputs(signature) if plain else None
        if plain is None or inputs is None:
            row, inputs = rest_request.inputs(document or rest_json.parse(body), signature)
        else:
            row = plain.row
        self.inference.check_method(signature)
        outputs = chosen_outputs(signature, ())
        arrays = self.inference.run(servable, signature, inputs, outputs, self.timeout_ms)
        write = rest_response.rows if row else rest_response.columns
        return write(dict(zip(outputs, arrays, strict=True)))

    def _examples(self, route: Route, body: bytes) -> bytes:
        """Answer :classify and :regress; unlike :predict, they read the whole request before they look the model up."""
        method, write = _EXAMPLES[route.verb]
        document = rest_json.parse(body)
        signature_name = rest_request.signature_name(document)
        listed = rest_examples.serialized(document)
        servable = self.inference.registry.find(route.name, route.version, route.label)
        outputs = examples.run(self.inference, servable, signature_name, method, listed, self.timeout_ms)
        return write(outputs, len(listed))


class _UnspeakableError(Exception):
    """A version number that is too large: 400 with an empty body (rule 4.2)."""


def _signature(servable: Servable, name: str) -> Signature:
    signature = servable.signature(name)
    if signature is None:
        raise invalid(f'Serving signature name: "{name}" not found in signature def')
    return signature
