"""How a good client fares beside many bad ones: `python -m tests.benchmarks.slow_clients [--clients 500]`.

The server runs with its default flags: no limit is on. The good client asks for y = x / 2 + 2 over REST and over gRPC
in turn, on connections that it keeps; first alone, then beside the bad ones, then alone again.
"""

from __future__ import annotations

import argparse
import http.client
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from tests.benchmarks.bad_clients import GRPC, REST, BadClients
from tests.serving.server.asking import Grpc, predict_request
from tests.serving.server.running import Running


@dataclass(frozen=True)
class Seen:
    """What the good client saw: seconds of every answer per protocol, how many were wrong or missing, and the threads
    and bytes of memory that the server had."""

    seconds: dict[str, list[float]]
    failed: int
    threads: int
    memory: int


def good_client(server: Running, requests: int, plus: float) -> Seen:
    """Ask over both protocols in turn.

    Args:
        plus: the model is y = x / 2 + plus.
    """
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=60)
    process = psutil.Process(server.process.pid)
    with Grpc(server.port) as client:
        asked = predict_request("half", x=np.float32([1]))

        def rest() -> bool:
            connection.request("POST", "/v1/models/half:predict", b'{"instances": [1.0]}')
            return connection.getresponse().read() == b'{\n    "predictions": [%.1f\n    ]\n}' % (0.5 + plus)

        def grpc() -> bool:
            return bool(client.predict(asked, timeout_s=60)["y"][0] == 0.5 + plus)

        ways: dict[str, Callable[[], bool]] = {"REST": rest, "gRPC": grpc}
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        failed = 0
        for number in range(requests + 5):
            for name, ask in ways.items():
                started = time.perf_counter()
                failed += not ask()
                if number >= 5:  # the first ones connect
                    seconds[name].append(time.perf_counter() - started)
    connection.close()
    return Seen(seconds, failed, process.num_threads(), process.memory_info().rss)


def measure(server: Running, clients: int, requests: int, plus: float) -> dict[str, Seen]:
    """Return what a good client saw alone, beside bad clients, and alone again."""
    good_client(server, requests // 4, plus)
    seen = {"alone": good_client(server, requests, plus)}
    with BadClients(server.rest_port, server.port, clients) as bad:
        time.sleep(2)
        seen[f"beside {bad.connected} bad clients"] = good_client(server, requests, plus)
    seen["alone again"] = good_client(server, requests, plus)
    return seen


def table(seen: dict[str, Seen]) -> str:
    """Return the figures in Markdown."""
    lines = ["| good client | REST p50 / p99 (ms) | gRPC p50 / p99 (ms) | failed | server: threads | memory (MiB) |",
             "|---|---|---|---|---|---|"]  # fmt: skip
    for when, one in seen.items():
        shown = [" / ".join(f"{value * 1e3:.2f}" for value in np.percentile(one.seconds[name], [50, 99]))
                 for name in ("REST", "gRPC")]  # fmt: skip
        lines.append(f"| {when} | {' | '.join(shown)} | {one.failed} | {one.threads} | {one.memory / 2**20:.0f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--requests", type=int, default=2000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = [sys.executable, "-m", "tests.serving.server.models", str(folder / "models")]
        subprocess.run(made, check=True, capture_output=True)
        config = folder / "models.config"
        config.write_text(
            f'model_config_list {{ config {{ name: "half" base_path: "{folder}/models/half" model_platform: '
            '"tensorflow" model_version_policy { specific { versions: 1 } } } }'
        )
        server = Running(folder / "logs", [f"--model_config_file={config}"])
        try:
            server.wait_until_ready()
            print(f"{len(REST)} kinds over REST, {len(GRPC)} over gRPC, {arguments.clients} clients at once, "
                  f"{arguments.requests} good requests per protocol and line\n")  # fmt: skip
            print(table(measure(server, arguments.clients, arguments.requests, plus=2.0)))
        finally:
            server.process.kill()


if __name__ == "__main__":
    main()
