"""The gRPC health service (grpc.health.v1). Ports open once every model is there, so what answers is SERVING."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2

from serving.server.grpc.call import Call, Method
from serving.server.status import Code, StatusError, not_found

_SERVICES = ("", "ModelService", "PredictionService")


def methods() -> dict[str, Method]:
    """Return what answers each path."""
    return {
        "/grpc.health.v1.Health/Check": Method(_check),
        "/grpc.health.v1.Health/Watch": Method(_watch, stream=True),
    }


def _check(data: bytes, call: Call) -> bytes:  # noqa: ARG001
    if not _known(data):
        raise not_found("service name unknown")
    return _response("SERVING")


def _watch(data: bytes, call: Call) -> bytes:  # noqa: ARG001
    return _response("SERVING" if _known(data) else "SERVICE_UNKNOWN")


def _known(data: bytes) -> bool:
    try:
        request: Any = health_pb2.HealthCheckRequest.FromString(data)
    except DecodeError:
        raise StatusError(Code.INTERNAL, "the request is no HealthCheckRequest") from None
    return request.service in _SERVICES


def _response(status: str) -> bytes:
    data: bytes = health_pb2.HealthCheckResponse(status=status).SerializeToString()
    return data
