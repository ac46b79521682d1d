"""A model's status and metadata as protobuf writes JSON, byte for byte (rules 4.4 and 4.5)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from google.protobuf import json_format
from tensorflow_serving.apis import get_model_metadata_pb2

from serving.server.servable import METADATA_FIELD, Servable
from serving.server.versions.registry import VersionStatus
from serving.server.versions.reply import status_response


def status(statuses: Sequence[VersionStatus]) -> bytes:
    """Return the JSON of where versions stand."""
    return _encoded(_message(status_response(statuses)))


def metadata(servable: Servable) -> bytes:
    """Return the JSON of the metadata, signature_def in signature_def."""
    signatures = get_model_metadata_pb2.SignatureDefMap()
    servable.metadata.metadata[METADATA_FIELD].Unpack(signatures)
    spec, map_ = _message(servable.metadata.model_spec), _message(signatures)
    return _encoded('{\n"model_spec":' + spec + ',\n"metadata": {"signature_def": ' + map_ + "}\n}\n")


def _message(message: Any) -> str:
    """Return a message as protobuf's JSON, names as in the .proto file, defaults included."""
    found = json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "replace")
