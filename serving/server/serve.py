"""Puts the server together and runs it until it is to stop; TensorFlow is imported here, after the flags are known."""

from __future__ import annotations

import gc
import logging
import os
import signal
import threading
from collections.abc import Collection
from typing import Any

from serving.server import memory, monitoring
from serving.server.batching import parameters as batching_parameters
from serving.server.flags import FLAGS, Support, Values, cpus
from serving.server.sessions.runtime import Runtime
from serving.server.status import Code, StatusError, invalid
from serving.server.versions import config as model_config
from serving.server.versions.lifecycle import Attempts, Lifecycle
from serving.server.versions.loader import loader
from serving.server.versions.models import Models
from serving.server.versions.registry import Registry
from serving.server.versions.watching import Watcher

log = logging.getLogger(__name__)
_INITIAL_LOADS = 4 * cpus()  # versions loaded at the same time at start


def serve(values: Values, signals: Collection[signal.Signals]) -> None:
    """Load the models, open the ports, answer until one of the signals comes (rule 1.3).

    Raises:
        StatusError: it cannot start.
    """
    _check(values)
    memory.share_arenas()
    config = _config(values)
    metrics_path = monitoring.path(values.monitoring_config_file) if values.monitoring_config_file else None
    runtime = Runtime(values, batching_parameters.of(values))
    models = _models(values, runtime)
    configured = models.accept(config)
    for name in values.not_default(Support.IGNORED):
        log.warning("--%s is not implemented by this server, ignored", name)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")
    stop = threading.Event()
    for number in signals:
        signal.signal(number, lambda *_: os._exit(0) if stop.is_set() else stop.set())  # a second one waits for nobody
    gc.collect()
    gc.freeze()  # what has been imported stays; a collection need not look at it
    models.start(configured or (), stop)
    if not stop.is_set():
        from serving.server import ports

        ports.answer(values, models, runtime, metrics_path, stop)


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
    for name in ("port", "rest_api_port"):
        if not 0 <= getattr(values, name) < 65536:
            raise invalid(f"--{name}={getattr(values, name)} is no port: expected 0 to 65535")
    if values.port == 0 and not values.grpc_socket_path:
        raise invalid("server_options.grpc_port is not set, and neither is server_options.grpc_socket_path.")
    if not values.model_base_path and not values.model_config_file:
        raise invalid("Both server_options.model_base_path and server_options.model_config_file are empty!")
    if min(session) > 0:
        raise invalid(
            "Either configure server_options.tensorflow_session_parallelism or (server_options."
            "tensorflow_intra_op_parallelism, server_options.tensorflow_inter_op_parallelism) separately. You cannot "
            "configure all."
        )


def _models(values: Values, runtime: Runtime) -> Models:
    """Return the models without any: what loads them imports TensorFlow at its first call."""
    registry = Registry()
    attempts = Attempts(1 + max(0, values.max_num_load_retries), max(0.0, values.load_retry_interval_micros / 1e6))
    unload_threads = max(1, values.num_unload_threads)
    lifecycle = Lifecycle(registry, loader(values, registry, runtime), attempts, _INITIAL_LOADS, unload_threads)
    watcher = Watcher(lifecycle.aspire, values.file_system_poll_wait_seconds)
    early_labels = values.allow_version_labels_for_unavailable_models
    return Models(registry, lifecycle, watcher, load_threads=max(1, values.num_load_threads), early_labels=early_labels)


def _config(values: Values) -> Any:
    """Return the ModelServerConfig that the server starts with."""
    if values.model_config_file:
        return model_config.read(values.model_config_file)
    return model_config.single(values.model_name, values.model_base_path)
