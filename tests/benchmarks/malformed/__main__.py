"""`python -m tests.benchmarks.malformed --requests 100000 --seed 0`: starts a server, and prints a table."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
    flags = [f"--model_config_file={config}", "--allow_version_labels_for_unavailable_models"]
    running = Running(folder / "server", flags)
    try:
        running.wait_until_ready()
        yield running
    finally:
        running.process.kill()


def main() -> int:
    """Return 0 where every answer was the expected one, and the memory was kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.malformed")
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as server:
        result = run(server.process.pid, server.port, server.rest_port, arguments.requests, arguments.seed, CLIENTS)
        alive = server.process.poll() is None
        print(result.table())
        before, after = (size / 1e6 for size in result.memory)
        print(f"\nmemory: {before:.0f} MB after the first requests, {after:.0f} MB after all; {result.seconds:.0f} s; "
              f"the server {'answers' if alive else 'has ended'}")  # fmt: skip
        for outcome in result.wrong[:50]:
            print(outcome)
        if not alive:
            print(server.err[-3000:])
    return 0 if alive and not result.wrong and result.memory_is_kept else 1


if __name__ == "__main__":
    sys.exit(main())
