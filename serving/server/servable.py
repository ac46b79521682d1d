"""One loaded version of a model: a session, and what its signatures feed and fetch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tensorflow_serving.apis import get_model_metadata_pb2

from serving.server.sessions.session import Session
from serving.server.status import invalid
from serving.server.tensors import to_array

DEFAULT_SIGNATURE = "serving_default"
METADATA_FIELD = "signature_def"


@dataclass(frozen=True)
class End:
    """An input or an output of a signature.

    Attributes:
        name: the tensor's name in the graph.
        dtype: its number in DataType, as the signature says for an input and as the graph says for an output.
    """

    name: str
    dtype: int


@dataclass(frozen=True)
class Signature:
    """One signature, resolved once.

    Attributes:
        inputs, outputs: alias -> end, sorted by alias.
        defaults: alias -> value of an input that a request may leave out.
        definition: the SignatureDef as it is stored.
    """

    name: str
    method_name: str
    inputs: dict[str, End]
    outputs: dict[str, End]
    defaults: dict[str, np.ndarray]
    definition: Any = None


class Servable:
    """A version that can answer. Its session is closed when nobody holds it any more, no running request either.

    Attributes:
        name, version: what it is served as.
        session: what runs it.
        metadata: the GetModelMetadataResponse, with the signatures as they are stored.
    """

    def __init__(self, name: str, version: int, session: Session, definitions: Mapping[str, Any]) -> None:
        self.name, self.version, self.session = name, version, session
        self._definitions = definitions
        everything = get_model_metadata_pb2.SignatureDefMap()
        for key, definition in definitions.items():
            everything.signature_def[key].CopyFrom(definition)
        self.metadata = get_model_metadata_pb2.GetModelMetadataResponse()
        self.metadata.model_spec.name, self.metadata.model_spec.version.value = name, version
        self.metadata.metadata[METADATA_FIELD].Pack(everything)
        self._signatures: dict[str, Signature] = {}

    def signature(self, name: str) -> Signature | None:
        """Return the signature of a name, resolved at its first use, or None where there is none.

        Raises:
            StatusError: it names what is no tensor of the graph.
        """
        known = self._signatures.get(name)
        if known is None and name in self._definitions:
            known = self._signatures[name] = _resolve(name, self._definitions[name], self.session)
        return known

    def run(
        self, signature: Signature, inputs: Mapping[str, np.ndarray], outputs: Sequence[str], timeout_ms: int | None
    ) -> list[np.ndarray]:
        """Run one signature and return the outputs in the order in which they are named.

        Args:
            inputs: alias -> value.
            outputs: aliases.
            timeout_ms: as in `session.Session.run`.

        Raises:
            StatusError: the run fails.
        """
        feeds = {signature.inputs[alias].name: value for alias, value in inputs.items()}
        return self.session.run(feeds, [signature.outputs[alias].name for alias in outputs], timeout_ms)


def _resolve(name: str, definition: Any, session: Session) -> Signature:
    def end(alias: str, info: Any, *, output: bool) -> End:
        try:
            actual = session.dtype(info.name)
        except KeyError:
            raise invalid(f"Signature {name} names {alias}: '{info.name}', which is no tensor of the graph") from None
        return End(info.name, actual if output else info.dtype)

    return Signature(
        name,
        definition.method_name,
        {alias: end(alias, definition.inputs[alias], output=False) for alias in sorted(definition.inputs)},
        {alias: end(alias, definition.outputs[alias], output=True) for alias in sorted(definition.outputs)},
        {alias: to_array(definition.defaults[alias], alias) for alias in sorted(definition.defaults)},
        definition,
    )
