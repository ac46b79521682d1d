"""Opens the ports of a server whose models are loaded, and ends it in order: gRPC first, then REST (rule 1.3)."""

from __future__ import annotations

import logging
import threading
import time

from serving.server import memory
from serving.server.flags import Values
from serving.server.grpc import reload as reload_service
from serving.server.grpc import service as grpc_service
from serving.server.grpc.server import GrpcServer
from serving.server.inference import Inference
from serving.server.rest import start as rest_start
from serving.server.sessions.runtime import Runtime
from serving.server.versions.models import Models, poll

log = logging.getLogger(__name__)


def answer(values: Values, models: Models, runtime: Runtime, metrics_path: str | None, stop: threading.Event) -> None:
    """Open the ports and answer; once `stop` is set, let running requests end.

    Args:
        metrics_path: where Prometheus finds the metrics, or None.

    Raises:
        StatusError: a port cannot be had.
    """
    inference = Inference(models.registry, values.enable_signature_method_name_check)
    grpc_server = _grpc(values, models, inference)
    http_server = rest_start.start(values, inference, metrics_path)
    if values.model_config_file and values.model_config_file_poll_wait_seconds > 0:
        seconds = values.model_config_file_poll_wait_seconds
        threading.Thread(
            target=poll, args=(models, values.model_config_file, seconds, stop), name="config", daemon=True
        ).start()
    threading.Thread(target=memory.watch, args=(stop,), name="memory", daemon=True).start()
    stop.wait()
    models.stop()
    deadline = time.monotonic() + max(0.0, values.shutdown_grace_seconds)
    ending = [threading.Thread(target=server.stop, args=(deadline,)) for server in (grpc_server, http_server) if server]
    for thread in ending:
        thread.start()
    runtime.drain()
    for thread in ending:
        thread.join()


def _grpc(values: Values, models: Models, inference: Inference) -> GrpcServer:
    services = grpc_service.Services(
        inference,
        outputs_as_content=values.enable_serialization_as_tensor_content,
        reload=reload_service.answer(models.reload, inference.metrics.value),
    )
    methods = grpc_service.methods(services)
    if values.enable_grpc_healthcheck_service:
        from serving.server.grpc import health as grpc_health

        methods |= grpc_health.methods()
    addresses = _grpc_addresses(values)
    server = GrpcServer(
        methods,
        addresses,
        max(1, values.grpc_max_threads),
        max(0, values.grpc_queue_length),
        _channel_arguments(values.grpc_channel_arguments),
    )
    for address in addresses:
        log.info("Running gRPC ModelServer at %s ...", address.replace("unix:", "UNIX socket "))
    return server


def _grpc_addresses(values: Values) -> list[str]:
    """Return where to listen for gRPC: a TCP port, a UNIX socket, or both."""
    host = f"[{values.bind_address}]" if ":" in values.bind_address else values.bind_address
    addresses = [f"{host}:{values.port}"] if values.port else []
    return [*addresses, f"unix:{values.grpc_socket_path}"] if values.grpc_socket_path else addresses


def _channel_arguments(text: str) -> list[tuple[str, int | str]]:
    """Return the options in k=v,k=v; a value that is an integer is passed on as one."""
    options: list[tuple[str, int | str]] = []
    for pair in filter(None, text.split(",")):
        key, _, value = pair.partition("=")
        options.append((key, int(value) if value.removeprefix("-").isdecimal() else value))
    return options
