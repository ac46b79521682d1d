"""Where a served model is asked: an address and a name, and the two questions that both protocols answer.

Imports nothing heavy; the protocols' modules are imported by the first question.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol
from urllib.parse import urlsplit

from pipeline.errors import UnavailableError
from pipeline.predictor import Ends, Predictor, Samples, Spec
from pipeline.signature import Signature
from serving import config

if TYPE_CHECKING:
    import numpy as np

    from serving.client import signature

# how tensors travel, for the report: figures of two encodings are not comparable
ENCODINGS: dict[str, str] = {"grpc": "tensor_content", "rest": "JSON rows (instances)"}

_REACH_S = 5.0  # for a connection to be made or refused
# of a client that only asks for states
_NO_MODEL = Spec((), ())


@dataclass(frozen=True)
class Endpoint:
    """A served model; hashable and picklable.

    Attributes:
        address: grpc://HOST:PORT, grpcs://HOST:PORT, http://HOST:PORT[/PREFIX] or https://HOST:PORT[/PREFIX].
        model: the name it is served under.
        version: the version to ask; None: the newest that is loaded, or the label's.
        label: the version label to ask, instead of a version.
        deadline_s: time for one request.
        form: of the file that is served: a .tflite takes token ids where a SavedModel takes texts.
    """

    address: str
    model: str
    version: int | None
    label: str | None
    deadline_s: float
    form: Literal["saved_model", "tflite"] = "saved_model"

    @property
    def protocol(self) -> config.Protocol:
        """Which API it speaks, by the address's scheme."""
        return config.SCHEMES[self.address.partition("://")[0]]

    def __str__(self) -> str:
        which = "" if self.version is None else f" version {self.version}"
        which = which if self.label is None else f" version '{self.label}'"
        return f"{self.model}{which} at {self.address}"


@dataclass(frozen=True)
class State:
    """The state of a version.

    Attributes:
        name: START, LOADING, AVAILABLE, UNLOADING or END.
        code: OK, or the code of the error that ended it.
        error: the error's text, empty without one.
    """

    name: str
    code: str
    error: str


class Client(Protocol):
    """A predictor over a protocol, which also answers about the model. Its answers are the REST API's, parsed."""

    def predict(self, batch: Samples) -> dict[str, np.ndarray]:
        """Ask for a batch; see `Predictor.predict`, and any other shape and type goes out as it is."""
        ...

    def metadata(self) -> Any:
        """Return the answer of GetModelMetadata."""
        ...

    def status(self) -> Any:
        """Return the answer of GetModelStatus for all versions."""
        ...

    def close(self) -> None:
        """End the connection."""
        ...


def connect(endpoint: Endpoint, spec: Spec | None) -> Predictor:
    """Return the served model as a Predictor, on one connection of its own that is kept.

    It may be used by one thread at a time. Nothing is ever asked twice: a repeated query would be timed as a slow one.
    Proxies that the environment names are passed by: they would capture and distort what is measured on this machine.

    Args:
        spec: what the model promises; None: any model, asked for all outputs that are numbers (`described`).

    Raises:
        FormatError: the served signature is not the spec's, or there is none.
        RejectedError: there is no such model, version or label.
        UnavailableError: the server does not answer.
        ServerError: it answers with something else.
    """
    from serving.client import signature

    if spec is None:
        return _open(endpoint, described(endpoint))
    client = _open(endpoint, spec)
    try:
        signature.require(str(endpoint), spec, _metadata(endpoint, client), lite=endpoint.form == "tflite")
    except BaseException:
        client.close()
        raise
    return client


def described(endpoint: Endpoint) -> Signature:
    """Return what a served model takes and gives, by its own metadata.

    Raises:
        FormatError: it has no signature `serving_default`.
        RejectedError, UnavailableError, ServerError: as `connect`.
    """
    from serving.client import signature

    client = _open(endpoint, _NO_MODEL)
    try:
        return signature.described(str(endpoint), _metadata(endpoint, client))
    finally:
        client.close()


def version(endpoint: Endpoint) -> int | None:
    """Return the version that answers, by the model's metadata; None: the server does not say.

    Raises:
        RejectedError, UnavailableError, ServerError: as `connect`.
    """
    client = _open(endpoint, _NO_MODEL)
    try:
        answer = client.metadata()
    finally:
        client.close()
    told = answer.get("model_spec") if isinstance(answer, dict) else None
    number = str(told.get("version") or "") if isinstance(told, dict) else ""
    return int(number) if number.isdecimal() else None


def refused(endpoint: Endpoint) -> UnavailableError | None:
    """Return the error where nobody listens at the address, or it is none; no answer of the model is waited for.

    What else goes wrong, the protocol's client finds out.
    """
    from serving.client import errors

    where = urlsplit(endpoint.address)
    try:
        socket.create_connection((where.hostname or "", where.port or 0), _REACH_S).close()
    except (ConnectionRefusedError, socket.gaierror) as error:
        known = errors.of_code(endpoint.address, "UNAVAILABLE", error.strerror or str(error))
        assert isinstance(known, UnavailableError)
        return known
    except OSError:
        return None
    return None


def _metadata(endpoint: Endpoint, client: Client) -> signature.Signature | tuple[str, ...]:
    from serving.client import errors, signature

    answer = client.metadata()
    with errors.parsing(endpoint.address, "the model's metadata", answer):
        return signature.parse(answer)


def status(endpoint: Endpoint) -> dict[int, State]:
    """Return version -> state of all versions of the model, also of those that the endpoint does not name.

    Raises:
        RejectedError: NOT_FOUND, the server knows no version of the model.
        UnavailableError: the server does not answer.
        ServerError: it answers with something else.
    """
    from serving.client import errors

    client = _open(endpoint, _NO_MODEL)
    try:
        answer = client.status()
    finally:
        client.close()
    with errors.parsing(endpoint.address, "the states of the model's versions", answer):
        return {
            int(one["version"]): State(one["state"], one["status"]["error_code"], one["status"]["error_message"])
            for one in answer["model_version_status"]
        }


def _open(endpoint: Endpoint, ends: Ends) -> Client:
    if endpoint.protocol == "grpc":
        from serving.client.grpc import GrpcPredictor

        return GrpcPredictor(endpoint, ends)
    from serving.client.rest import RestPredictor

    return RestPredictor(endpoint, ends)
