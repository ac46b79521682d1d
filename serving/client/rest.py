"""A served model over REST, as a Predictor."""

from __future__ import annotations

import base64
import json
import ssl
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
import orjson

from pipeline.predictor import Ends, Samples
from serving.client import errors
from serving.client.endpoint import Endpoint

# one connection, which idling does not close
_LIMITS = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=None)
# an answer that a proxy compresses would be timed with its compression
_HEADERS = {"Accept-Encoding": "identity", "Content-Type": "application/json"}


class RestPredictor:
    """A served model over one kept-alive connection; requests are rows (`instances`). See `endpoint.connect`.

    It sits on httpx's transport: redirects, cookies and authentication, which httpx.Client adds, would take longer
    than a small model. Certificates are checked against the system's, or SSL_CERT_FILE.
    """

    def __init__(self, endpoint: Endpoint, ends: Ends) -> None:
        self._outputs = ends.outputs
        self._address, self._deadline_s = endpoint.address, endpoint.deadline_s
        verify = ssl.create_default_context() if endpoint.address.startswith("https://") else False
        self._transport = httpx.HTTPTransport(verify=verify, trust_env=False, limits=_LIMITS, retries=0)
        self._extensions = {"timeout": dict.fromkeys(("connect", "read", "write", "pool"), endpoint.deadline_s)}
        self._model = f"{endpoint.address.rstrip('/')}/v1/models/{quote(endpoint.model, safe='')}"
        chosen = self._model
        if endpoint.version is not None:
            chosen += f"/versions/{endpoint.version}"
        if endpoint.label is not None:
            chosen += f"/labels/{quote(endpoint.label, safe='')}"
        self._metadata, self._predict = f"{chosen}/metadata", f"{chosen}:predict"

    def predict(self, batch: Samples) -> dict[str, np.ndarray]:
        """Ask for raw samples; see `Predictor.predict`.

        Any other shape goes out as it is, and so do strings and bools; JSON has one type for all numbers.

        Raises:
            RejectedError: the server refuses the request.
            UnavailableError: it is overloaded, too slow or gone.
            ServerError: it failed, or answered without these outputs.
        """
        answer = self._ask("POST", self._predict, encode(batch))
        with errors.parsing(self._address, f"predictions with {' and '.join(self._outputs)}", answer):
            rows = answer["predictions"]
            if len(self._outputs) == 1 and not isinstance(rows[0], dict):  # of one output the API leaves its name out
                return {self._outputs[0]: np.array(rows, np.float32)}
            return {name: np.array([row[name] for row in rows], np.float32) for name in self._outputs}

    def metadata(self) -> Any:
        """Return the answer of /metadata."""
        return self._ask("GET", self._metadata, b"")

    def status(self) -> Any:
        """Return the answer of GET on the model: the states of all versions."""
        return self._ask("GET", self._model, b"")

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    def _ask(self, method: str, url: str, content: bytes) -> Any:
        until = time.monotonic() + self._deadline_s
        try:
            request = httpx.Request(method, url, headers=_HEADERS, content=content, extensions=self._extensions)
            response = self._transport.handle_request(request)
            try:
                body = self._read(response, until)
            finally:
                response.close()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise errors.of_connection(self._address, error) from error
        kind = response.headers.get("content-type", "")
        if response.status_code != 200:
            raise errors.of_response(self._address, response.status_code, kind, body)
        try:
            return json.loads(body)
        except ValueError as error:
            raise errors.of_content(self._address, kind, body) from error

    def _read(self, response: httpx.Response, until: float) -> bytes:
        """Return the body; httpx's own deadline starts anew with every piece of it."""
        pieces = []
        for piece in response.iter_raw():
            pieces.append(piece)
            if time.monotonic() > until:
                raise httpx.ReadTimeout("the answer comes too slowly")
        return b"".join(pieces)


def encode(batch: Samples) -> bytes:
    """Return the body of a request in row form: of values, or of objects with a value for each input.

    A float32 has as many digits as it takes to come back as it was, and no point where it is whole; strings that are
    bytes travel as base64. NaN and infinity are written as the API reads them, beyond JSON.
    """
    if isinstance(batch, Mapping):
        return _encode_objects(batch)
    if batch.dtype == np.float32 and batch.ndim and np.isfinite(batch).all():
        return orjson.dumps({"instances": _shortest(batch)}, option=orjson.OPT_SERIALIZE_NUMPY)
    return _ENCODER.encode({"instances": batch.tolist()}).encode()


def _encode_objects(batch: Mapping[str, np.ndarray]) -> bytes:
    if all(array.ndim for array in batch.values()) and len({len(array) for array in batch.values()}) == 1:
        columns = {name: array.tolist() for name, array in batch.items()}
        rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        return _ENCODER.encode({"instances": rows}).encode()
    # a batch that is no batch has no rows: in the columnar form the server sees what is wrong with it
    return _ENCODER.encode({"inputs": {name: array.tolist() for name, array in batch.items()}}).encode()


def _shortest(batch: np.ndarray) -> np.ndarray:
    """Return finite float32 numbers as integers where all are: a pixel is shorter without its point.

    A negative zero is none. Bits are compared, since comparing numbers does not tell it from zero.
    """
    with np.errstate(invalid="ignore"):  # too large for int32
        whole = batch.astype(np.int32)
    same = np.array_equal(whole.astype(np.float32).view(np.int32), batch.view(np.int32))
    return np.ascontiguousarray(whole if same else batch)


def _as_base64(value: Any) -> dict[str, str]:
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode("ascii")}
    raise TypeError(f"JSON cannot hold a {type(value).__name__}")


_ENCODER = json.JSONEncoder(check_circular=False, separators=(",", ":"), default=_as_base64)
