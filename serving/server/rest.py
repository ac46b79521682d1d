"""The REST API: routes a request, answers it in JSON (rules 4.1 to 4.5)."""

from __future__ import annotations

import json
import re
import sys
import traceback
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from google.protobuf import json_format
from tensorflow_serving.apis import get_model_metadata_pb2

from serving.server import examples, rest_examples, rest_json, rest_request, rest_response
from serving.server.grpc_service import status_response
from serving.server.http_request import Request
from serving.server.http_server import Response, html_error
from serving.server.inference import Inference, chosen_outputs
from serving.server.servable import DEFAULT_SIGNATURE, METADATA_FIELD, Servable, Signature
from serving.server.status import HTTP, Code, StatusError, invalid

_WHICH = r"(?:(?:/versions/(?P<version>[0-9]+))|(?:/labels/(?P<label>[^/:]+)))?"
_API = re.compile(r"/v1/.*", re.IGNORECASE | re.DOTALL)
_INFERENCE = re.compile(rf"/v1/models/(?P<name>[^/:]+){_WHICH}:(?P<verb>classify|regress|predict)", re.IGNORECASE)
_MODEL = re.compile(rf"/v1/models(?:/(?P<name>[^/:]+))?{_WHICH}(?:/(?P<verb>metadata))?", re.IGNORECASE)
# verb -> the method, and what writes its answer
_EXAMPLES = {
    "classify": (examples.CLASSIFY, rest_examples.classification),
    "regress": (examples.REGRESS, rest_examples.regression),
}
_LARGEST_VERSION = 2**63 - 1


@dataclass(frozen=True)
class Rest:
    """Answers HTTP requests.

    Attributes:
        timeout_ms: longest run of a request.
    """

    inference: Inference
    timeout_ms: int

    def handle(self, request: Request) -> Response:
        """Answer a request; errors are JSON below /v1/ and a page elsewhere."""
        path = re.sub(r"^https?://[^/]*", "", request.target)
        if not _API.fullmatch(path):
            return html_error(404)
        try:
            return Response(200, self._route(request.method, path, request.body))
        except _UnspeakableError:
            return Response(400, b"")
        except StatusError as error:
            status = error
        except Exception as error:  # noqa: BLE001  one request fails, the server goes on
            traceback.print_exc(file=sys.stderr)
            status = StatusError(Code.INTERNAL, f"{type(error).__name__}: {error}")
        return Response(HTTP[status.code], rest_response.error(status.text))

    def _route(self, method: str, path: str, body: bytes) -> bytes:
        match = _INFERENCE.fullmatch(path) if method == "POST" else _MODEL.fullmatch(path) if method == "GET" else None
        if not match or (method == "POST" and match["verb"] not in ("classify", "regress", "predict")):
            raise invalid(f"Malformed request: {method} {path}")
        name = unquote(match["name"] or "")
        version = int(match["version"]) if match["version"] else None
        if version is not None and version > _LARGEST_VERSION:
            raise _UnspeakableError
        label = unquote(match["label"]) if match["label"] else None
        if match["verb"] == "predict":
            return self._predict(name, version, label, body)
        if match["verb"] in _EXAMPLES:
            return self._examples(match["verb"], (name, version, label), body)
        if not name:
            raise invalid("Missing model name in request.")
        if match["verb"] == "metadata":
            return _metadata_json(self.inference.registry.find(name, version, label))
        response = status_response(self.inference.registry.statuses(name, version))
        return json.dumps(_message(response), indent=1, ensure_ascii=False).encode("utf-8", "replace")

    def _predict(self, name: str, version: int | None, label: str | None, body: bytes) -> bytes:
        """Answer :predict; the checks are in the order of rule 4.6."""
        document = rest_json.parse(body)
        signature_name = rest_request.signature_name(document) or DEFAULT_SIGNATURE
        servable = self.inference.registry.find(name, version, label)
        signature = _signature(servable, signature_name)
        row, inputs = rest_request.inputs(document, signature)
        self.inference.check_method(signature)
        outputs = chosen_outputs(signature, ())
        arrays = self.inference.run(servable, signature, inputs, outputs, self.timeout_ms)
        write = rest_response.rows if row else rest_response.columns
        return write(dict(zip(outputs, arrays, strict=True)))

    def _examples(self, verb: str, which: tuple[str, int | None, str | None], body: bytes) -> bytes:
        """Answer :classify and :regress; unlike :predict, they read the whole request before they look the model up."""
        method, write = _EXAMPLES[verb]
        document = rest_json.parse(body)
        signature_name = rest_request.signature_name(document)
        listed = rest_examples.serialized(document)
        servable = self.inference.registry.find(*which)
        outputs = examples.run(self.inference, servable, signature_name, method, listed, self.timeout_ms)
        return write(outputs, len(listed))


class _UnspeakableError(Exception):
    """A version number that is too large: 400 with an empty body (rule 4.2)."""


def _signature(servable: Servable, name: str) -> Signature:
    signature = servable.signature(name)
    if signature is None:
        raise invalid(f'Serving signature name: "{name}" not found in signature def')
    return signature


def _metadata_json(servable: Servable) -> bytes:
    """Return the metadata, signature_def in signature_def (rule 4.5)."""
    signatures = get_model_metadata_pb2.SignatureDefMap()
    servable.metadata.metadata[METADATA_FIELD].Unpack(signatures)
    document = {
        "model_spec": _message(servable.metadata.model_spec),
        "metadata": {"signature_def": _message(signatures)},
    }
    return json.dumps(document, indent=1).encode()


def _message(message: Any) -> dict[str, Any]:
    """Return a message as protobuf's JSON, names as in the .proto file, defaults included."""
    found: dict[str, Any] = json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return found
