"""Opens the port for HTTP/REST as the flags say."""

from __future__ import annotations

import logging

from serving.server.flags import Values
from serving.server.http.connection import Limits
from serving.server.http.server import HttpServer
from serving.server.inference import Inference
from serving.server.rest.api import Rest
from serving.server.status import Code, StatusError

log = logging.getLogger(__name__)


def start(values: Values, inference: Inference, metrics_path: str | None) -> HttpServer | None:
    """Return the running REST server, or None where there is to be none.

    Args:
        metrics_path: where Prometheus finds the metrics, or None.

    Raises:
        StatusError: the port cannot be had.
    """
    address, port = values.bind_address, values.rest_api_port
    if port == 0:
        return None
    if port == values.port:
        log.error("server_options.http_port cannot be same as grpc_port. Please use a different port for HTTP/REST "
                  "API. Skipped exporting HTTP/REST API.")  # fmt: skip
        return None
    rest = Rest(inference, values.rest_api_timeout_in_ms, values.rest_api_enable_cors_support, metrics_path)
    threads = max(1, values.rest_api_num_threads)
    try:
        server = HttpServer(address, port, rest.handle, threads, _limits(values), rest.overloaded())
    except (OSError, OverflowError) as error:
        raise StatusError(Code.UNKNOWN, f"cannot listen for HTTP/REST on {address}:{port}: {error}") from None
    log.info("Exporting HTTP/REST API at:%s:%d ...", address, port)
    return server


def _limits(values: Values) -> Limits:
    return Limits(
        connections=values.rest_max_connections,
        queued=values.rest_max_queued_requests,
        head=values.rest_max_header_bytes,
        body=values.rest_max_body_bytes,
        idle_s=values.rest_idle_timeout_in_ms / 1000,
        request_s=values.rest_request_timeout_in_ms / 1000,
        answer_s=values.rest_answer_timeout_in_ms / 1000,
    )
