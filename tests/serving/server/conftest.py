"""The models, written once, and one server that has all of them."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.serving.server.asking import Grpc
from tests.serving.server.offline import Loader, Offline
from tests.serving.server.running import Running

TIMEOUT_MS = 3000
CONFIG = """
    config {{ name: "half" base_path: "{root}/half" model_platform: "tensorflow" model_version_policy {{ all {{}} }}
              version_labels {{ key: "stable" value: 1 }} version_labels {{ key: "broken" value: 3 }} }}
    config {{ name: "pair" base_path: "{root}/pair" model_platform: "tensorflow"
              model_version_policy {{ specific {{ versions: 7 versions: 8 }} }} }}
    config {{ name: "text" base_path: "{root}/text" model_type: TENSORFLOW }}
    config {{ name: "same" base_path: "{root}/same" model_platform: "tensorflow" }}
    config {{ name: "odd" base_path: "{root}/odd" model_platform: "tensorflow" }}
    config {{ name: "slow" base_path: "{root}/slow" model_platform: "tensorflow" }}
    config {{ name: "optional" base_path: "{root}/optional" model_platform: "tensorflow" }}
    config {{ name: "a b" base_path: "{root}/half" model_platform: "tensorflow"
              model_version_policy {{ specific {{ versions: 1 }} }} }}
    config {{ name: "guarded" base_path: "{root}/guarded" model_platform: "tensorflow" }}
    config {{ name: "tf1" base_path: "{root}/tf1" model_platform: "tensorflow" model_version_policy {{ all {{}} }} }}
    config {{ name: "tf2" base_path: "{root}/tf2" model_platform: "tensorflow" }}
    config {{ name: "warm" base_path: "{root}/warm" model_platform: "tensorflow" model_version_policy {{ all {{}} }} }}
    config {{ name: "folding" base_path: "{root}/folding" model_platform: "tensorflow"
              model_version_policy {{ all {{}} }} }}
"""


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the models."""
    folder = tmp_path_factory.mktemp("models")
    subprocess.run([sys.executable, "-m", "tests.serving.server.models", str(folder)], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="session")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server with all models; it has to survive every test."""
    folder = tmp_path_factory.mktemp("server")
    config = folder / "models.config"
    config.write_text(f"model_config_list {{ {CONFIG.format(root=models)} }}")
    monitoring = folder / "monitoring.config"
    monitoring.write_text("prometheus_config { enable: true }")
    running = Running(
        folder,
        [
            f"--model_config_file={config}",
            "--max_num_load_retries=0",
            f"--rest_api_timeout_in_ms={TIMEOUT_MS}",
            "--tensorflow_intra_op_parallelism=2",
            "--tensorflow_inter_op_parallelism=2",
            "--num_request_iterations_for_warmup=2",
            "--mixed_precision=x",
            "--allow_version_labels_for_unavailable_models",
            f"--monitoring_config_file={monitoring}",
        ],
    )
    try:
        running.wait_until_ready()
        running.wait_for_log("version: 3} failed")
        yield running
        assert running.process.poll() is None, f"the server died:\n{running.err}"
        started = time.monotonic()
        running.process.send_signal(signal.SIGINT)
        assert running.ended() == 0
        assert time.monotonic() - started < 4
    finally:
        running.process.kill()


@pytest.fixture(scope="session")
def limited(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server with a limit on everything that a client may take over REST, and with CORS."""
    folder = tmp_path_factory.mktemp("limited")
    config = folder / "models.config"
    entries = (f'config {{ name: "{name}" base_path: "{models}/{name}" model_platform: "tensorflow" '
               f"model_version_policy {{ specific {{ versions: 1 }} }} }}" for name in ("half", "slow"))  # fmt: skip
    config.write_text(f"model_config_list {{ {' '.join(entries)} }}")
    running = Running(
        folder,
        [
            f"--model_config_file={config}",
            "--rest_api_timeout_in_ms=5000",
            "--rest_api_num_threads=2",
            "--rest_max_queued_requests=1",
            "--rest_max_connections=40",
            "--rest_max_header_bytes=65536",
            "--rest_max_body_bytes=2000000",
            "--rest_idle_timeout_in_ms=3000",
            "--rest_request_timeout_in_ms=2500",
            "--rest_answer_timeout_in_ms=2500",
            "--rest_api_enable_cors_support",
        ],
    )
    try:
        running.wait_until_ready()
        yield running
        assert running.process.poll() is None, f"the server died:\n{running.err}"
    finally:
        running.process.kill()


@pytest.fixture(scope="session")
def client(server: Running) -> Iterator[Grpc]:
    """The official stubs, connected to the server."""
    with Grpc(server.port) as connected:
        yield connected


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Offline]]:
    """Makes servers without ports, and ends them."""
    made: list[Offline] = []

    def one(loader: Loader | None = None, **options: Any) -> Offline:
        made.append(Offline(tmp_path, loader or Loader(), **options))
        return made[-1]

    yield one
    for each in made:
        each.end()
