"""The flags of tensorflow_model_server, read as it reads them (rules 1.1 and 1.2). Imports nothing heavy."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

_INT_LIMITS = {"int32": 2**31, "int64": 2**63}


class Support(Enum):
    """What this server does with a flag."""

    FULL = "does what it says"
    INERT = "accepted; has no effect that a client could see"
    IGNORED = "accepted and said to be ignored"
    REFUSED = "the server does not start with it: going on would be dishonest or unsafe"


@dataclass(frozen=True)
class Flag:
    """One flag: its name, type as TensorFlow writes it, default, and one line of help."""

    name: str
    kind: str
    default: Any
    help: str
    support: Support = Support.FULL

    def parse(self, text: str | None) -> Any:
        """Return the value for the text after `=`, or for a bare `--name` (None).

        Raises:
            ValueError: it is none of this type.
        """
        if self.kind == "bool":
            if text not in (None, "true", "false"):
                raise ValueError(text)
            return text != "false"
        assert text is not None
        if self.kind == "string":
            return text
        if self.kind == "float":
            return float(text)
        if not re.fullmatch(r"\s*[+-]?[0-9]+", text):
            raise ValueError(text)
        value = int(text)
        if not -_INT_LIMITS[self.kind] <= value < _INT_LIMITS[self.kind]:
            raise ValueError(text)
        return value


def cpus() -> int:
    """Return the CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _threads() -> int:
    return 4 * cpus()


_INERT, _IGNORED, _REFUSED = Support.INERT, Support.IGNORED, Support.REFUSED
_OURS = "modelmill's own. 0: no limit."
FLAGS: tuple[Flag, ...] = (
    Flag("port", "int32", 8500, "TCP port for gRPC. 0: no gRPC over TCP."),
    Flag("grpc_socket_path", "string", "", "Also listen for gRPC on this UNIX socket."),
    Flag("rest_api_port", "int32", 0, "TCP port for HTTP/REST. 0: no REST."),
    Flag("rest_api_num_threads", "int32", _threads(), "REST requests handled at the same time."),
    Flag("rest_api_timeout_in_ms", "int32", 30000, "Longest run of a REST request, in ms."),
    Flag("rest_api_enable_cors_support", "bool", False, "Answer with CORS headers."),
    Flag("bind_address", "string", "127.0.0.1", "Address to listen on; modelmill's own. 0.0.0.0: from everywhere."),
    # what a client may take over REST; no flags of tensorflow_model_server
    Flag("rest_max_connections", "int32", 0, f"Connections at once. {_OURS}"),
    Flag("rest_max_queued_requests", "int32", 0, f"Requests that wait for one of rest_api_num_threads. {_OURS}"),
    Flag("rest_max_header_bytes", "int32", 0, f"Largest head of a request. {_OURS}"),
    Flag("rest_max_body_bytes", "int64", 0, f"Largest body of a request, as sent. {_OURS}"),
    Flag("rest_idle_timeout_in_ms", "int32", 0, f"A connection on which nothing moves ends. {_OURS}"),
    Flag("rest_request_timeout_in_ms", "int32", 0, f"Longest time to send one request. {_OURS}"),
    Flag("rest_answer_timeout_in_ms", "int32", 0, f"Longest time to take one answer. {_OURS}"),
    Flag("grpc_max_threads", "int32", _threads(), "gRPC requests handled at the same time."),
    Flag("grpc_queue_length", "int32", 0, "gRPC requests beyond them that wait; modelmill's own. 0: all are refused."),
    Flag("shutdown_grace_seconds", "float", 3.0, "Time for running requests after SIGTERM; modelmill's own."),
    Flag("grpc_channel_arguments", "string", "", "Options of the gRPC server, as k=v,k=v."),
    Flag("enable_grpc_healthcheck_service", "bool", False, "Answer grpc.health.v1."),
    Flag("ssl_config_file", "string", "", "SSLConfig in text format: gRPC with TLS.", _REFUSED),
    Flag("use_alts_credentials", "bool", False, "Google ALTS for gRPC.", _REFUSED),
    Flag("model_name", "string", "default", "Name of the one model; not with model_config_file."),
    Flag("model_base_path", "string", "", "Its folder, without the version; not with model_config_file."),
    Flag("model_config_file", "string", "", "ModelServerConfig in text format."),
    Flag("model_config_file_poll_wait_seconds", "int32", 0, "Read the config again each time. 0: once."),
    Flag("file_system_poll_wait_seconds", "int32", 1, "Between looks for versions. 0: one look. Negative: none."),
    Flag("max_num_load_retries", "int32", 5, "More attempts to load a version that fails."),
    Flag("load_retry_interval_micros", "int64", 60_000_000, "Between the attempts, in us. Negative: none."),
    Flag("num_load_threads", "int32", 0, "Versions loaded at the same time. 0: one."),
    Flag("num_unload_threads", "int32", 0, "Versions unloaded at the same time. 0: one."),
    Flag("flush_filesystem_caches", "bool", True, "Flush caches after loading.", _INERT),
    Flag("allow_version_labels_for_unavailable_models", "bool", False, "Labels may name versions not yet loaded."),
    Flag("saved_model_tags", "string", "serve", "Tags of the MetaGraphDef to load, comma separated."),
    Flag("enable_signature_method_name_check", "bool", False, "Predict only on signatures with a known method."),
    Flag("enable_serialization_as_tensor_content", "bool", False, "Predict outputs in tensor_content."),
    Flag("enable_batching", "bool", False, "Batch requests."),
    Flag("batching_parameters_file", "string", "", "BatchingParameters in text format."),
    Flag("enable_per_model_batching_parameters", "bool", False, "Read them from each model's folder."),
    Flag("enable_model_warmup", "bool", True, "Replay each version's warm-up requests."),
    Flag("num_request_iterations_for_warmup", "int32", 0, "Times each of them is replayed. 0: once."),
    Flag("monitoring_config_file", "string", "", "MonitoringConfig in text format."),
    Flag("tensorflow_session_parallelism", "int64", 0, "Threads inside and between operations. 0: automatic."),
    Flag("tensorflow_intra_op_parallelism", "int64", 0, "Threads inside an operation. 0: automatic."),
    Flag("tensorflow_inter_op_parallelism", "int64", 0, "Threads between operations. 0: automatic."),
    Flag("tensorflow_session_config_file", "string", "", "ConfigProto in text format.", _IGNORED),
    Flag("platform_config_file", "string", "", "PlatformConfigMap in text format.", _IGNORED),
    Flag("thread_pool_factory_config_file", "string", "", "ThreadPoolConfig in text format.", _IGNORED),
    Flag("per_process_gpu_memory_fraction", "float", 0.0, "Share of a GPU's memory.", _IGNORED),
    Flag("remove_unused_fields_from_bundle_metagraph", "bool", True, "Keep less of the graph.", _INERT),
    Flag("prefer_tflite_model", "bool", False, "Serve model.tflite where there is one."),
    Flag("num_tflite_pools", "int32", cpus(), "Interpreters of a model.tflite; one runs one request."),
    Flag("num_tflite_interpreters_per_pool", "int32", 1, "Above 1: large requests are split for them."),
    Flag("mixed_precision", "string", "", "bfloat16: run in mixed precision.", _IGNORED),
    Flag("xla_cpu_compilation_enabled", "bool", False, "Compile with XLA for the CPU.", _IGNORED),
    Flag("xla_gpu_compilation_enabled", "bool", False, "Compile with XLA for a GPU.", _IGNORED),
    Flag("skip_initialize_tpu", "bool", False, "Leave a TPU alone.", _INERT),
    Flag("enable_profiler", "bool", True, "Run the profiler's service.", _INERT),
    Flag("version", "bool", False, "Print the version and end."),
)
_BY_NAME = {flag.name: flag for flag in FLAGS}


class Values:
    """The value of every flag, by its name: `values.port`."""

    def __init__(self, given: dict[str, Any]) -> None:
        self._values = {flag.name: given.get(flag.name, flag.default) for flag in FLAGS}

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["_values"][name]
        except KeyError:
            raise AttributeError(name) from None

    def not_default(self, support: Support) -> list[str]:
        """Return the flags with this support that were given another value than their default's."""
        return [
            flag.name for flag in FLAGS if flag.support is support and self._values[flag.name] != flag.default
        ]  # fmt: skip


@dataclass(frozen=True)
class Parsed:
    """The arguments of a call.

    Attributes:
        bad: arguments with a value that is none; they end the call.
        unknown: arguments that are no flags; they do not.
    """

    values: Values
    bad: tuple[str, ...]
    unknown: tuple[str, ...]


def parse(arguments: Sequence[str]) -> Parsed:
    """Read `--name=value`, and `--name` for booleans; `--name value` is two unknown arguments (rule 1.1)."""
    given: dict[str, Any] = {}
    bad, unknown = [], []
    for argument in arguments:
        name, equals, text = argument.removeprefix("--").partition("=")
        flag = _BY_NAME.get(name) if argument.startswith("--") else None
        if flag is None or (not equals and flag.kind != "bool"):
            unknown.append(argument)
            continue
        try:
            given[name] = flag.parse(text if equals else None)
        except ValueError:
            bad.append(argument)
    return Parsed(Values(given), tuple(bad), tuple(unknown))


def expected(argument: str) -> str:
    """Return what a flag's value has to be, for one that is not."""
    flag = _BY_NAME[argument.removeprefix("--").partition("=")[0]]
    return "expected true or false" if flag.kind == "bool" else f"expected an {flag.kind}"


def usage(program: str) -> str:
    """Return the list of flags that is printed with a wrong argument."""
    lines: Iterable[str] = (
        f"\t{f'--{flag.name}={_shown(flag.default)}':<60}\t{flag.kind}\t{flag.help}{_LIMITS[flag.support]}"
        for flag in FLAGS
    )
    return "\n".join([f"usage: {program} --name=value ...", _ABOUT.format(program=program), "Flags:", *lines, ""])


_ABOUT = """
Serves SavedModels with TensorFlow Serving's API, over gRPC and REST, on this machine alone unless --bind_address says
otherwise. A model's folder holds its versions in folders named by numbers; a new one is found and swapped in.

  {program} --model_name=digits --model_base_path=/models/digits --rest_api_port=8501
  curl -d '{{"instances": [[1.0, 2.0]]}}' http://127.0.0.1:8501/v1/models/digits:predict
"""
_LIMITS = {
    Support.FULL: "",
    Support.INERT: " (accepted; nothing that a client could see)",
    Support.IGNORED: " (accepted, and said to be ignored)",
    Support.REFUSED: " (not possible here: the server does not start with it)",
}


def _shown(default: Any) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    return f'"{default}"' if isinstance(default, str) else str(default)
