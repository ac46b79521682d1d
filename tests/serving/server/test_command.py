"""The command `modelmill serve`: the same server, under the product's name."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.end_to_end.command import MODELMILL
from tests.serving.server.running import READY_S, free_ports


@pytest.mark.rule("1.1")
def test_version_is_two_lines(tmp_path: Path) -> None:
    done = subprocess.run(
        [MODELMILL, "serve", "--version"], capture_output=True, text=True, check=True, cwd=tmp_path, timeout=READY_S
    )
    first, second = done.stdout.splitlines()
    assert first.startswith("TensorFlow ModelServer: modelmill ")
    assert second.startswith("TensorFlow Library: ")


@pytest.mark.parametrize("asked", ["--help", "-h"])
def test_help_teaches_with_a_command_that_can_be_copied(asked: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [MODELMILL, "serve", asked], capture_output=True, text=True, check=True, cwd=tmp_path, timeout=READY_S
    )
    assert "modelmill serve --model_name=digits --model_base_path=/models/digits --rest_api_port=8501" in done.stdout
    assert "\t--model_config_file=" in done.stdout


@pytest.mark.rule("1.1")
def test_bad_value_is_usage_and_255(tmp_path: Path) -> None:
    done = subprocess.run(
        [MODELMILL, "serve", "--port=abc"], capture_output=True, text=True, check=False, cwd=tmp_path, timeout=READY_S
    )
    assert (done.returncode, done.stderr) == (255, "Couldn't interpret --port=abc: expected an int32\n")
    assert done.stdout.startswith("usage: modelmill serve --name=value ...")


def test_it_serves_and_ends_in_order(models: Path, tmp_path: Path) -> None:
    grpc_port, rest_port = free_ports(2)
    flags = ["--model_name=m", f"--model_base_path={models}/text", f"--rest_api_port={rest_port}"]
    server = subprocess.Popen([MODELMILL, "serve", f"--port={grpc_port}", *flags], cwd=tmp_path)
    try:
        deadline = time.monotonic() + READY_S
        while True:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", rest_port, timeout=30)
                connection.request("POST", "/v1/models/m:predict", json.dumps({"inputs": ["a"]}))
                break
            except ConnectionRefusedError:
                assert server.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.1)
        answer = json.load(connection.getresponse())
        connection.close()
        assert answer["outputs"]["plain"] == ["a"]
        server.send_signal(signal.SIGTERM)
        assert server.wait(READY_S) == 0
    finally:
        server.kill()
