from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

from serving.client.endpoint import ENCODINGS, Endpoint


def _endpoint(address: str, version: int | None = None, label: str | None = None) -> Endpoint:
    return Endpoint(address, "digits", version, label, 5.0)


@pytest.mark.parametrize(
    ("address", "protocol"),
    [("grpc://h:1", "grpc"), ("grpcs://h:1", "grpc"), ("http://h:1/prefix", "rest"), ("https://h:1", "rest")],
)
def test_protocol_follows_from_the_scheme_and_has_an_encoding(address: str, protocol: str) -> None:
    assert _endpoint(address).protocol == protocol
    assert ENCODINGS[protocol]


def test_endpoint_is_a_key_and_survives_the_pipe_to_the_measuring_process() -> None:
    endpoint = _endpoint("grpc://h:1", 0)
    assert {endpoint: 1}[pickle.loads(pickle.dumps(endpoint))] == 1
    assert endpoint != _endpoint("grpc://h:1")


def test_text_of_an_endpoint_names_the_model_and_what_is_asked_of_it() -> None:
    assert str(_endpoint("grpc://h:1")) == "digits at grpc://h:1"
    assert str(_endpoint("grpc://h:1", 0)) == "digits version 0 at grpc://h:1"
    assert str(_endpoint("http://h:1/p", label="canary")) == "digits version 'canary' at http://h:1/p"


def test_endpoint_loads_nothing_heavy_and_rest_loads_no_tensorflow() -> None:
    script = (
        "import sys\nimport serving.client.endpoint\n"
        "print(sorted({'tensorflow', 'numpy', 'grpc', 'httpx'} & set(sys.modules)))\n"
        "import serving.client.rest\nprint(sorted({'tensorflow', 'grpc'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n[]\n"
