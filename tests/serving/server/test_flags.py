"""The flags' syntax and defaults."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from serving import layout
from serving.config import BatchingConfig
from serving.server import flags

DEFAULTS = {
    "port": 8500, "rest_api_port": 0, "rest_api_timeout_in_ms": 30000, "model_name": "default", "model_base_path": "",
    "model_config_file": "", "model_config_file_poll_wait_seconds": 0, "file_system_poll_wait_seconds": 1,
    "num_load_threads": 0, "num_unload_threads": 0, "max_num_load_retries": 5, "load_retry_interval_micros": 60_000_000,
    "enable_batching": False, "enable_model_warmup": True, "num_request_iterations_for_warmup": 0,
    "saved_model_tags": "serve", "enable_signature_method_name_check": False,
    "enable_serialization_as_tensor_content": False, "tensorflow_session_parallelism": 0, "enable_profiler": True,
    "flush_filesystem_caches": True, "grpc_channel_arguments": "", "bind_address": "127.0.0.1",
}  # fmt: skip


@pytest.mark.rule("1.2")
def test_values_are_the_defaults_of_rule_1_2_when_nothing_is_given() -> None:
    values = flags.parse([]).values
    assert {name: getattr(values, name) for name in DEFAULTS} == DEFAULTS
    assert values.rest_api_num_threads == values.grpc_max_threads >= 4


@pytest.mark.rule("1.1")
@pytest.mark.parametrize(
    ("argument", "name", "value"),
    [
        ("--port=1", "port", 1), ("--port= +1", "port", 1),
        ("--file_system_poll_wait_seconds=-1", "file_system_poll_wait_seconds", -1),
        ("--enable_batching", "enable_batching", True), ("--enable_batching=true", "enable_batching", True),
        ("--enable_model_warmup=false", "enable_model_warmup", False), ("--model_name=", "model_name", ""),
        ("--model_name=a=b", "model_name", "a=b"),
        ("--per_process_gpu_memory_fraction=0.5", "per_process_gpu_memory_fraction", 0.5),
        ("--load_retry_interval_micros=60000000000", "load_retry_interval_micros", 60_000_000_000),
    ],
)  # fmt: skip
def test_a_flag_is_read_when_it_is_written_as_rule_1_1_says(argument: str, name: str, value: object) -> None:
    parsed = flags.parse([argument])
    assert (getattr(parsed.values, name), parsed.bad, parsed.unknown) == (value, (), ())


@pytest.mark.rule("1.1")
@pytest.mark.parametrize(
    "argument", ["--port=abc", "--port=", "--port=1.5", "--port=1_0", "--port=3000000000", "--enable_batching=yes",
                 "--enable_batching=", "--per_process_gpu_memory_fraction=x"],
)  # fmt: skip
def test_a_value_is_bad_when_it_is_of_another_type(argument: str) -> None:
    assert flags.parse(["--port=1", argument]).bad == (argument,)


@pytest.mark.rule("1.1")
def test_arguments_are_unknown_when_they_are_no_flags() -> None:
    arguments = ["--port", "1", "-port=1", "--prot=1", "port=1"]
    parsed = flags.parse(arguments)
    assert parsed.unknown == tuple(arguments)
    assert parsed.values.port == 8500


def test_usage_lists_every_flag() -> None:
    listed = re.findall(r"^\t--([a-z0-9_]+)=", flags.usage("x"), re.MULTILINE)
    assert listed == [flag.name for flag in flags.FLAGS]


def test_every_flag_that_modelmill_writes_is_known(tmp_path: Path) -> None:
    deployment = layout.Deployment("m", {}, 1, 1, BatchingConfig(max_batch_size=2))
    written = layout.write(deployment, tmp_path, "/models")
    parsed = flags.parse(written)
    assert (parsed.bad, parsed.unknown) == ((), ())
    assert parsed.values.not_default(flags.Support.IGNORED) == []
    assert parsed.values.not_default(flags.Support.REFUSED) == []
