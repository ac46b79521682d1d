"""Puts the server together and runs it until it is to stop; TensorFlow is imported here, after the flags are known."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Collection
from typing import TYPE_CHECKING

from serving.server import config as model_config
from serving.server import monitoring
from serving.server.flags import FLAGS, Support, Values
from serving.server.status import Code, StatusError, invalid

if TYPE_CHECKING:
    from pathlib import Path

    from serving.server.http_server import HttpServer
    from serving.server.inference import Inference
    from serving.server.registry import Registry
    from serving.server.servable import Servable

log = logging.getLogger(__name__)
_WARM_UP = "assets.extra/tf_serving_warmup_requests"
GRACE_S = 3.0  # running requests may take this long once the server is to stop


def serve(values: Values, signals: Collection[signal.Signals]) -> None:
    """Load the models, open the ports, answer until one of the signals comes (rule 1.3).

    Raises:
        StatusError: it cannot start.
    """
    _check(values)
    configs = _models(values)
    metrics_path = monitoring.path(values.monitoring_config_file) if values.monitoring_config_file else None
    for name in values.not_default(Support.IGNORED):
        log.warning("--%s is not implemented by this server, ignored", name)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")
    stop = threading.Event()
    for number in signals:
        signal.signal(number, lambda *_: stop.set())
    registry = _load(values, configs, stop)
    if not stop.is_set():
        _answer(values, registry, stop, metrics_path)


def _check(values: Values) -> None:
    """Refuse what cannot be served as it is asked for."""
    session = (values.tensorflow_session_parallelism, values.tensorflow_intra_op_parallelism,
               values.tensorflow_inter_op_parallelism)  # fmt: skip
    if values.batching_parameters_file and not values.enable_batching:
        raise invalid(
            "server_options.batching_parameters_file is set without setting server_options.enable_batching to true."
        )
    refused = [flag for flag in FLAGS if flag.name in values.not_default(Support.REFUSED)]
    if refused:
        raise StatusError(
            Code.UNIMPLEMENTED,
            "this server cannot do what is asked for: "
            + "; ".join(f"--{flag.name} ({flag.help.rstrip('.')})" for flag in refused),
        )
    if values.port == 0:
        raise invalid("server_options.grpc_port is not set, and this server does not listen on a UNIX socket.")
    if not values.model_base_path and not values.model_config_file:
        raise invalid("Both server_options.model_base_path and server_options.model_config_file are empty!")
    if min(session) > 0:
        raise invalid(
            "Either configure server_options.tensorflow_session_parallelism or (server_options."
            "tensorflow_intra_op_parallelism, server_options.tensorflow_inter_op_parallelism) separately. You cannot "
            "configure all."
        )


def _models(values: Values) -> tuple[model_config.ModelConfig, ...]:
    """Return the models to serve; labels cannot be given to versions that are not there yet (rule 6.7)."""
    if values.model_config_file:
        configs = model_config.read(values.model_config_file)
    else:
        configs = model_config.single(values.model_name, values.model_base_path)
    for config in configs:
        for version in config.labels.values():
            if not values.allow_version_labels_for_unavailable_models:
                raise StatusError(
                    Code.FAILED_PRECONDITION,
                    f"Request to assign label to version {version} of model {config.name}, which is not currently "
                    "available for inference",
                )
    return configs


def _load(values: Values, configs: tuple[model_config.ModelConfig, ...], stop: threading.Event) -> Registry:
    """Return the registry with the models loaded."""
    import tensorflow as tf

    from serving.server import graph_session
    from serving.server.loading import Attempts, Loader
    from serving.server.registry import Registry
    from serving.server.servable import Servable

    both = values.tensorflow_session_parallelism
    session_config = tf.compat.v1.ConfigProto(
        intra_op_parallelism_threads=values.tensorflow_intra_op_parallelism or both,
        inter_op_parallelism_threads=values.tensorflow_inter_op_parallelism or both,
    )
    tags = values.saved_model_tags.split(",")
    registry = Registry()
    for config in configs:
        registry.set_labels(config.name, config.labels)

    def load(name: str, version: int, path: Path) -> Servable:
        if values.enable_model_warmup and (path / _WARM_UP).exists():
            log.warning("warm-up requests are not implemented by this server, ignored: %s", path / _WARM_UP)
        return Servable(name, version, *graph_session.load(path, tags, session_config))

    Loader(
        registry,
        load,
        Attempts(1 + max(0, values.max_num_load_retries), max(0.0, values.load_retry_interval_micros / 1e6)),
        4 * (os.cpu_count() or 1),
        stop,
    ).start(configs, values.file_system_poll_wait_seconds)
    return registry


def _answer(values: Values, registry: Registry, stop: threading.Event, metrics_path: str | None) -> None:
    """Open the ports and answer; then let running requests end."""
    from serving.server import grpc_service
    from serving.server.inference import Inference

    inference = Inference(registry, values.enable_signature_method_name_check)
    services = grpc_service.Services(inference, outputs_as_content=values.enable_serialization_as_tensor_content)
    options = _channel_arguments(values.grpc_channel_arguments)
    grpc_server = grpc_service.serve(
        services, values.bind_address, values.port, max(1, values.grpc_max_threads), options
    )
    log.info("Running gRPC ModelServer at %s:%d ...", values.bind_address, values.port)
    http_server = _rest(values, inference, metrics_path)
    stop.wait()
    deadline = time.monotonic() + GRACE_S
    drained = grpc_server.stop(GRACE_S)
    if http_server:
        http_server.stop(deadline)
    drained.wait(max(0.0, deadline - time.monotonic()))


def _rest(values: Values, inference: Inference, metrics_path: str | None) -> HttpServer | None:
    """Return the running REST server, or None where there is to be none.

    Raises:
        StatusError: the port cannot be had.
    """
    from serving.server.http_connection import Limits
    from serving.server.http_server import HttpServer
    from serving.server.rest import Rest

    address, port = values.bind_address, values.rest_api_port
    if port == 0:
        return None
    if port == values.port:
        log.error("server_options.http_port cannot be same as grpc_port. Please use a different port for HTTP/REST "
                  "API. Skipped exporting HTTP/REST API.")  # fmt: skip
        return None
    rest = Rest(inference, values.rest_api_timeout_in_ms, values.rest_api_enable_cors_support, metrics_path)
    limits = Limits(
        values.rest_max_connections,
        values.rest_max_queued_requests,
        values.rest_max_header_bytes,
        values.rest_max_body_bytes,
        values.rest_idle_timeout_in_ms / 1000,
        values.rest_request_timeout_in_ms / 1000,
        values.rest_answer_timeout_in_ms / 1000,
    )
    threads = max(1, values.rest_api_num_threads)
    try:
        server = HttpServer(address, port, rest.handle, threads, limits, rest.overloaded())
    except (OSError, OverflowError) as error:
        raise StatusError(Code.UNKNOWN, f"cannot listen for HTTP/REST on {address}:{port}: {error}") from None
    log.info("Exporting HTTP/REST API at:%s:%d ...", address, port)
    return server


def _channel_arguments(text: str) -> list[tuple[str, int | str]]:
    """Return the options in k=v,k=v; a value that is an integer is passed on as one."""
    options: list[tuple[str, int | str]] = []
    for pair in filter(None, text.split(",")):
        key, _, value = pair.partition("=")
        options.append((key, int(value) if value.removeprefix("-").isdecimal() else value))
    return options
