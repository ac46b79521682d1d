"""Where a served model is asked: an address and a name, and the two questions that both protocols answer.

Imports nothing heavy; the protocols' modules are imported by the first question.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pipeline.predictor import Predictor, Samples, Spec
from serving import config

if TYPE_CHECKING:
    import numpy as np

# how tensors travel, for the report: figures of two encodings are not comparable
ENCODINGS: dict[str, str] = {"grpc": "tensor_content", "rest": "JSON rows (instances)"}

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
    """

    address: str
    model: str
    version: int | None
    label: str | None
    deadline_s: float

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


def connect(endpoint: Endpoint, spec: Spec) -> Predictor:
    """Return the served model as a Predictor, on one connection of its own that is kept.

    It may be used by one thread at a time. Nothing is ever asked twice: a repeated query would be timed as a slow one.
    Proxies that the environment names are passed by: they would capture and distort what is measured on this machine.

    Raises:
        FormatError: the served signature is not the spec's.
        RejectedError: there is no such model, version or label.
        UnavailableError: the server does not answer.
        ServerError: it answers with something else.
    """
    from serving.client import errors, signature

    client = _open(endpoint, spec)
    try:
        answer = client.metadata()
        with errors.parsing(endpoint.address, "the model's metadata", answer):
            found = signature.parse(answer)
        signature.require(str(endpoint), spec, found)
    except BaseException:
        client.close()
        raise
    return client


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


def _open(endpoint: Endpoint, spec: Spec) -> Client:
    if endpoint.protocol == "grpc":
        from serving.client.grpc import GrpcPredictor

        return GrpcPredictor(endpoint, spec)
    from serving.client.rest import RestPredictor

    return RestPredictor(endpoint, spec)
