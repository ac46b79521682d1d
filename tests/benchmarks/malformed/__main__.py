"""`python -m tests.benchmarks.malformed --requests 100000 --seed 0`: starts a server, and prints a table."""

from __future__ import annotations

import argparse
import http.client
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import numpy as np

from tests.benchmarks.malformed import models
from tests.benchmarks.malformed.runner import run
from tests.serving.server.running import Running

CLIENTS = 4


@contextmanager
def served(folder: Path) -> Iterator[Running]:
    """Write the models into a folder, and serve them."""
    command = [sys.executable, "-m", "tests.benchmarks.malformed.models", str(folder / "models")]
    subprocess.run(command, check=True, capture_output=True)
    config = folder / "models.config"
    config.write_text(models.config(folder / "models"))
    flags = [f"--model_config_file={config}", "--allow_version_labels_for_unavailable_models",
             "--grpc_max_threads=32"]  # fmt: skip
    running = Running(folder / "server", flags)
    try:
        running.wait_until_ready()
        yield running
    finally:
        running.process.kill()


def answers(server: Running) -> bool:
    """Return whether `half` is answered rightly over both protocols."""
    from tests.serving.server.asking import Grpc, predict_request

    try:
        with Grpc(server.port) as client:
            over_grpc = client.predict(predict_request("half", x=np.ones(1, np.float32)))["y"].tolist()
        over_rest = server.predict("half", {"instances": [1]})
    except (grpc.RpcError, OSError, http.client.HTTPException, AssertionError) as error:
        print(f"{type(error).__name__}: {error}")
        return False
    return (over_grpc, over_rest) == ([2.5], {"predictions": [2.5]})


def main() -> int:
    """Return 0 where every answer was the expected one, and the memory was kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.malformed")
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as server:
        result = run(server.process.pid, server.port, server.rest_port, arguments.requests, arguments.seed, CLIENTS)
        alive = answers(server)
        print(result.table())
        before, after = (size / 1e6 for size in result.memory)
        print(f"\nmemory: {before:.0f} MB after the first requests, {after:.0f} MB after all; {result.seconds:.0f} s; "
              f"the server {'answers' if alive else 'does not answer rightly'}")  # fmt: skip
        for outcome in result.wrong[:50]:
            print(outcome)
        if not alive:
            print(server.err[-3000:])
    return 0 if alive and not result.wrong and result.memory_is_kept else 1


if __name__ == "__main__":
    sys.exit(main())
