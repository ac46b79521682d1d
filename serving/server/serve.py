"""Puts the server together and runs it until it is to stop; TensorFlow is imported here, after the flags are known."""

from __future__ import annotations

import gc
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from serving.server import config as model_config
from serving.server import monitoring
from serving.server.flags import FLAGS, Support, Values
from serving.server.lifecycle import Attempts, Lifecycle
from serving.server.models import Models, poll
from serving.server.registry import Registry
from serving.server.status import Code, StatusError, invalid
from serving.server.watching import Watcher

if TYPE_CHECKING:
    from pathlib import Path

    from serving.server.servable import Servable

log = logging.getLogger(__name__)
_INITIAL_LOADS = 4 * (os.cpu_count() or 1)  # versions loaded at the same time at start
GRACE_S = 3.0  # running requests may take this long once the server is to stop


def serve(values: Values, signals: Collection[signal.Signals]) -> None:
    """Load the models, open the ports, answer until one of the signals comes (rule 1.3).

    Raises:
        StatusError: it cannot start.
    """
    _check(values)
    models = _models(values)
    configured = models.accept(_config(values))
    metrics_path = monitoring.path(values.monitoring_config_file) if values.monitoring_config_file else None
    for name in values.not_default(Support.IGNORED):
        log.warning("--%s is not implemented by this server, ignored", name)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")
    stop = threading.Event()
    for number in signals:
        signal.signal(number, lambda *_: stop.set())
    gc.collect()
    gc.freeze()  # what has been imported stays; the collection after an unload need not look at it
    models.start(configured or (), stop)
    if not stop.is_set():
        _answer(values, models, stop, metrics_path)


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


def _models(values: Values) -> Models:
    """Return the models without any: what loads them imports TensorFlow at its first call."""
    registry = Registry()
    attempts = Attempts(1 + max(0, values.max_num_load_retries), max(0.0, values.load_retry_interval_micros / 1e6))
    unload_threads = max(1, values.num_unload_threads)
    lifecycle = Lifecycle(registry, _loader(values, registry), attempts, _INITIAL_LOADS, unload_threads)
    watcher = Watcher(lifecycle.aspire, values.file_system_poll_wait_seconds)
    early_labels = values.allow_version_labels_for_unavailable_models
    return Models(registry, lifecycle, watcher, load_threads=max(1, values.num_load_threads), early_labels=early_labels)


def _loader(values: Values, registry: Registry) -> Callable[[str, int, Path], Servable]:
    """Return what loads a version and makes it ready for requests."""

    def load(name: str, version: int, path: Path) -> Servable:
        import tensorflow as tf

        from serving.server import graph_session
        from serving.server.grpc_inference import GrpcInference
        from serving.server.inference import Inference
        from serving.server.servable import Servable
        from serving.server.warmup import warm_up

        both = values.tensorflow_session_parallelism
        session_config = tf.compat.v1.ConfigProto(
            intra_op_parallelism_threads=values.tensorflow_intra_op_parallelism or both,
            inter_op_parallelism_threads=values.tensorflow_inter_op_parallelism or both,
        )
        servable = Servable(
            name, version, *graph_session.load(path, values.saved_model_tags.split(","), session_config)
        )
        if values.enable_model_warmup:
            rehearsal = GrpcInference(Inference(registry, values.enable_signature_method_name_check))
            warm_up(servable, path, rehearsal, values.num_request_iterations_for_warmup)
        return servable

    return load


def _config(values: Values) -> Any:
    """Return the ModelServerConfig that the server starts with."""
    if values.model_config_file:
        return model_config.read(values.model_config_file)
    return model_config.single(values.model_name, values.model_base_path)


def _answer(values: Values, models: Models, stop: threading.Event, metrics_path: str | None) -> None:
    """Open the ports and answer; then let running requests end."""
    from serving.server import grpc_service, reload_service, rest_start
    from serving.server.inference import Inference

    inference = Inference(models.registry, values.enable_signature_method_name_check)
    services = grpc_service.Services(
        inference,
        outputs_as_content=values.enable_serialization_as_tensor_content,
        reload=reload_service.answer(models.reload, inference.metrics.value),
    )
    options = _channel_arguments(values.grpc_channel_arguments)
    grpc_server = grpc_service.serve(
        services, values.bind_address, values.port, max(1, values.grpc_max_threads), options
    )
    log.info("Running gRPC ModelServer at %s:%d ...", values.bind_address, values.port)
    http_server = rest_start.start(values, inference, metrics_path)
    if values.model_config_file and values.model_config_file_poll_wait_seconds > 0:
        seconds = values.model_config_file_poll_wait_seconds
        threading.Thread(
            target=poll, args=(models, values.model_config_file, seconds, stop), name="config", daemon=True
        ).start()
    stop.wait()
    models.stop()
    deadline = time.monotonic() + GRACE_S
    drained = grpc_server.stop(GRACE_S)
    if http_server:
        http_server.stop(deadline)
    drained.wait(max(0.0, deadline - time.monotonic()))


def _channel_arguments(text: str) -> list[tuple[str, int | str]]:
    """Return the options in k=v,k=v; a value that is an integer is passed on as one."""
    options: list[tuple[str, int | str]] = []
    for pair in filter(None, text.split(",")):
        key, _, value = pair.partition("=")
        options.append((key, int(value) if value.removeprefix("-").isdecimal() else value))
    return options
