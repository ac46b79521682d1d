"""The recipe's section `serving`: what is refused, and with which words."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from serving.config import IMAGES, BatchingConfig, ServingConfig

REMOTE = {"target": "remote", "remote": {"addresses": ["grpc://host:8500"]}}


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"target": "remote"}, "target: remote and a section remote go together"),
        ({"remote": {"addresses": ["grpc://host:8500"]}}, "target: remote and a section remote go together"),
        ({"target": "remote", "remote": {"addresses": ["host:8500"]}}, "expected grpc://HOST:PORT or http://HOST:PORT"),
        ({"target": "remote", "remote": {"addresses": ["grpc://host:0"]}}, "found 'grpc://host:0'"),
        ({"target": "remote", "remote": {"addresses": ["grpc://host:8500/path"]}}, "found 'grpc://host:8500/path'"),
        ({"target": "remote", "remote": {"addresses": ["grpc://a:1", "grpcs://b:2"]}}, "found two of the same"),
        (
            {"target": "remote", "remote": {"addresses": ["http://a:1"], "version": 1, "label": "stable"}},
            "a version or a label",
        ),
        (REMOTE | {"protocols": ["rest"]}, "remote has no address for protocols rest"),
        (REMOTE | {"flags": ["--a=1"]}, "flags is for a server that modelmill starts; a remote one is taken as it is"),
        (REMOTE | {"batching": {}}, "batching is for a server that modelmill starts"),
        (REMOTE | {"image": "x"}, "image is for target: docker, but target is remote"),
        ({"target": "embedded", "device": "gpu"}, "device is for target: docker, but target is embedded"),
        ({"target": "docker", "binary": "x"}, "binary is for target: binary, but target is docker"),
        ({"protocols": ["grpc", "grpc"]}, "protocols names one twice"),
        ({"protocols": []}, "at least 1 item"),
        ({"tflite": ["int8", "int8"]}, "tflite names one twice: int8, int8"),
        ({"tflite": ["int4"]}, "Input should be"),
        (REMOTE | {"tflite": ["int8"]}, "tflite is for a server that modelmill starts"),
        ({"flags": ["--prefer_tflite_model=true"]}, "flags: prefer_tflite_model is not for a recipe to set"),
        ({"flags": ["-x"]}, "flags: expected --name=value, on one line, found '-x'"),
        ({"flags": ["--a=1\n--port=9000"]}, r"flags: expected --name=value, on one line, found '--a=1\n--port=9000'"),
        ({"flags": ["--a=1\n"]}, "flags: expected --name=value, on one line"),
        ({"flags": ["--a=\0"]}, "flags: expected --name=value, on one line"),
        ({"flags": ["--port=1"]}, "flags: port is not for a recipe to set"),
        ({"flags": ["--bind_address=0.0.0.0"]}, "flags: bind_address is not for a recipe to set"),
        ({"grpc_port": 8500, "rest_port": 8500}, "grpc_port and rest_port are both 8500"),
        ({"model_name": "../x"}, "model_name"),
        ({"batching": {"max_batch_size": 8, "allowed_batch_sizes": [8, 4]}}, "allowed_batch_sizes must grow"),
        ({"batching": {"allowed_batch_sizes": [8]}}, "the last must be max_batch_size"),
    ],
)  # fmt: skip
def test_section_is_refused_when_its_keys_do_not_fit(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        ServingConfig.model_validate(keys)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "keys",
    [
        {},
        REMOTE,
        {"target": "remote", "remote": {"addresses": ["https://[::1]:443/prefix", "grpcs://host:1"], "label": "x"}},
        {"target": "docker", "image": "mine:1", "device": "gpu", "flags": ["--enable_profiler", "--x=a b"]},
        {"tflite": []},
        {"tflite": ["int8", "float32"]},
        {"batching": {"max_batch_size": 8, "allowed_batch_sizes": [4, 8]}, "grpc_port": 8500, "rest_port": 8501},
    ],
)
def test_section_is_the_same_after_a_dump_and_a_load(keys: dict[str, Any]) -> None:
    config = ServingConfig.model_validate(keys)
    assert ServingConfig.model_validate_json(config.model_dump_json()) == config


def test_image_is_the_pinned_one_of_the_device_when_none_is_named() -> None:
    assert ServingConfig(device="gpu").image_name == IMAGES["gpu"]
    assert ServingConfig().image_name == IMAGES["cpu"]
    assert ServingConfig(image="mine:1", device="gpu").image_name == "mine:1"


def test_addresses_are_found_by_their_protocol() -> None:
    remote = ServingConfig.model_validate(
        {"target": "remote", "remote": {"addresses": ["https://a:1", "grpc://b:2"]}}
    ).remote
    assert remote is not None
    assert remote.by_protocol() == {"rest": "https://a:1", "grpc": "grpc://b:2"}


def test_batching_leaves_the_servers_defaults_when_nothing_is_set() -> None:
    assert BatchingConfig().model_dump(exclude_defaults=True) == {}
