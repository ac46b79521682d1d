"""Where versions stand, as both protocols tell it (rule 3.11)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tensorflow_serving.apis import get_model_status_pb2

from serving.server.versions.registry import VersionStatus


def status_response(statuses: Sequence[VersionStatus]) -> Any:
    """Return the GetModelStatusResponse for where versions stand."""
    response = get_model_status_pb2.GetModelStatusResponse()
    for status in statuses:
        entry = response.model_version_status.add(version=status.version, state=int(status.state))
        entry.status.error_code = int(status.error.code) if status.error else 0
        entry.status.error_message = status.error.text if status.error else ""
    return response
