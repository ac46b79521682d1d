"""Hot swaps under load: `python -m tests.benchmarks.swaps [--swaps N]`.

One model, a new version published again and again, each as soon as the one before has replaced its own predecessor.
Four clients ask over gRPC and four over REST, without a pause and without naming a version. An answer tells which
version gave it (y = x / 2 + version). It is wrong unless it comes from a version that could be the latest at some time
during the call; for a client, which asks one after another, versions never go back. Exits with 1 on a failed or a
wrong answer, and when the server's memory grows.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil

from tests.serving.server.running import Running

if TYPE_CHECKING:
    from tests.serving.server.asking import Grpc

CLIENTS_PER_PROTOCOL = 4
SIDE = 2000  # a version holds a variable of SIDE x SIDE floats, 16 MB
WARM = 3  # swaps after which the memory is taken for the first time
ALLOWED_GROWTH_MB = 60
_WAIT_S = 240


@dataclass(frozen=True)
class Answer:
    """One answer of a client; times are of time.monotonic, in seconds."""

    started: float
    ended: float
    version: float


@dataclass
class Client:
    """What one client got."""

    protocol: str
    answers: list[Answer] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


@dataclass
class Result:
    """What happened.

    Attributes:
        published: version -> when its folder got its name.
        loading: version -> when it was first seen on its way.
        seen: version -> when it was first seen AVAILABLE.
        gone: version -> when it was first seen unloaded.
        rss_mb: the server's memory after each swap.
    """

    clients: list[Client]
    published: dict[int, float] = field(default_factory=dict)
    loading: dict[int, float] = field(default_factory=dict)
    seen: dict[int, float] = field(default_factory=dict)
    gone: dict[int, float] = field(default_factory=dict)
    rss_mb: list[float] = field(default_factory=list)

    @property
    def failures(self) -> list[str]:
        return [failure for client in self.clients for failure in client.failures]

    def wrong(self) -> list[str]:
        """Return the answers that no version could give at that time, and those that go back."""
        found = []
        for client in self.clients:
            latest = 0.0
            for answer in client.answers:
                if answer.version not in self.published or self.published[int(answer.version)] > answer.ended:
                    found.append(f"{client.protocol}: {answer}: there was no such version yet")
                elif any(version > answer.version and seen < answer.started for version, seen in self.seen.items()):
                    found.append(f"{client.protocol}: {answer}: a later version was already AVAILABLE")
                elif answer.version < latest:
                    found.append(f"{client.protocol}: {answer}: after an answer of version {latest}")
                latest = max(latest, answer.version)
        return found

    def growth_mb(self) -> float:
        """Return how much the memory grew after the first swaps: the medians of the first and of the last ones."""
        after = self.rss_mb[WARM:]
        few = max(1, len(after) // 4)
        return float(np.median(after[-few:]) - np.median(after[:few]))

    def table(self) -> str:
        """Return the figures in Markdown; a swap is under way from the first sign of a load to the unload's end."""
        swaps = [(self.loading[version], self.gone[version - 1]) for version in self.published if version > 1]

        def swapping(answer: Answer) -> bool:
            return any(answer.started < end and answer.ended > start for start, end in swaps)

        rows = ["| protocol | requests | failed | p50 ms | p99 ms | max ms |", "|---|---|---|---|---|---|"]
        for protocol in ("gRPC", "REST"):
            clients = [client for client in self.clients if client.protocol == protocol]
            answers = [answer for client in clients for answer in client.answers]
            failed = sum(len(client.failures) for client in clients)
            for name, chosen in (
                (
                    f"{protocol}, while a version is loaded and the other unloaded",
                    [answer for answer in answers if swapping(answer)],
                ),
                (f"{protocol}, at other times", [answer for answer in answers if not swapping(answer)]),
            ):
                ms = [1000 * (answer.ended - answer.started) for answer in chosen] or [float("nan")]
                p50, p99, most = np.percentile(ms, [50, 99, 100])
                rows.append(f"| {name} | {len(chosen)} | {failed} | {p50:.2f} | {p99:.2f} | {most:.2f} |")
        available = [self.seen[version] - self.published[version] for version in self.published if version > 1]
        replaced = [self.gone[version - 1] - self.published[version] for version in self.published if version > 1]
        rows += [
            "",
            f"{len(swaps)} swaps, {len(self.failures)} failed and {len(self.wrong())} wrong answers. From the new "
            f"folder to AVAILABLE: median {np.median(available):.2f} s, most {max(available):.2f} s; to the old "
            f"version's end: median {np.median(replaced):.2f} s, most {max(replaced):.2f} s.",
            f"Memory after {WARM} swaps {self.rss_mb[WARM - 1]:.0f} MB, at the end {self.rss_mb[-1]:.0f} MB, at most "
            f"{max(self.rss_mb):.0f} MB; growth, from the median of the first quarter to that of the last, "
            f"{self.growth_mb():+.1f} MB.",
        ]
        return "\n".join(rows)


def write_template(folder: Path) -> None:
    """Write the version that the others are made from, in this process: it loads TensorFlow."""
    import tensorflow as tf

    module = tf.Module()
    module.weights = tf.Variable(tf.zeros((SIDE, SIDE)))

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.float32, name="x")])
    def answer(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": x / 2 + tf.constant(0.0, name="version") + module.weights[0, 0]}

    tf.saved_model.save(module, str(folder), signatures={"serving_default": answer})


class Publisher:
    """Makes versions of a template appear under a base path."""

    def __init__(self, template: Path, base: Path) -> None:
        from tensorflow.core.protobuf import saved_model_pb2

        self._template, self._base = template, base
        self._model = saved_model_pb2.SavedModel.FromString((template / "saved_model.pb").read_bytes())
        graph = self._model.meta_graphs[0].graph_def
        nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
        self._constants = [node.attr["value"].tensor for node in nodes if node.name == "version"]
        assert self._constants

    def publish(self, version: int) -> float:
        """Publish a version by a rename; return when."""
        folder = self._base / f"{version}.tmp"
        shutil.copytree(self._template, folder, copy_function=os.link)
        (folder / "saved_model.pb").unlink()
        for constant in self._constants:
            constant.float_val[:] = [float(version)]
        (folder / "saved_model.pb").write_bytes(self._model.SerializeToString())
        now = time.monotonic()
        folder.rename(self._base / str(version))
        return now

    def remove(self, version: int) -> None:
        """Remove a version."""
        shutil.rmtree(self._base / str(version))


def ask_grpc(port: int, client: Client, stop: threading.Event) -> None:
    """Ask over one channel until the event is set."""
    from tests.serving.server.asking import Grpc, predict_request

    with Grpc(port) as connected:

        def ask(x: float) -> float:
            response = connected.prediction.Predict(predict_request("m", x=np.array([x], np.float32)), timeout=30)
            version = float(response.outputs["y"].float_val[0] - x / 2)
            assert response.model_spec.version.value == version, response
            return version

        _ask(ask, client, stop)


def ask_rest(port: int, client: Client, stop: threading.Event) -> None:
    """Ask over one connection until the event is set."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def ask(x: float) -> float:
        connection.request("POST", "/v1/models/m:predict", json.dumps({"instances": [x]}))
        response = connection.getresponse()
        text = response.read().decode()
        assert response.status == 200, text
        return float(json.loads(text)["predictions"][0] - x / 2)

    _ask(ask, client, stop)
    connection.close()


def _ask(ask: Callable[[float], float], client: Client, stop: threading.Event) -> None:
    x = 0
    while not stop.is_set():
        x = (x + 2) % 1000
        started = time.monotonic()
        try:
            version = ask(float(x))
        except Exception as error:  # noqa: BLE001  whatever it is, it is counted
            client.failures.append(f"{client.protocol}: {type(error).__name__}: {error}")
        else:
            client.answers.append(Answer(started, time.monotonic(), version))


def run(folder: Path, swaps: int) -> Result:
    """Swap so often; return what happened."""
    from tests.serving.server.asking import Grpc

    template, base = folder / "template", folder / "m"
    base.mkdir()
    command = [sys.executable, "-m", "tests.benchmarks.swaps", f"--template={template}"]
    subprocess.run(command, check=True, capture_output=True)
    publisher = Publisher(template, base)
    clients = [Client(protocol) for protocol in ("gRPC", "REST") for _ in range(CLIENTS_PER_PROTOCOL)]
    result = Result(clients)
    result.published[1] = publisher.publish(1)
    running = Running(folder / "server", [f"--model_base_path={base}", "--model_name=m", "--grpc_max_threads=32"])
    stop = threading.Event()
    threads = []
    try:
        running.wait_until_ready()
        result.seen[1] = time.monotonic()
        server = psutil.Process(running.process.pid)
        for client in clients:
            ask, port = (ask_grpc, running.port) if client.protocol == "gRPC" else (ask_rest, running.rest_port)
            threads.append(threading.Thread(target=ask, args=(port, client, stop)))
            threads[-1].start()
        with Grpc(running.port) as watcher:
            for version in range(2, swaps + 2):
                result.published[version] = publisher.publish(version)
                _await_swap(watcher, version, result)
                result.rss_mb.append(server.memory_info().rss / 1e6)
                publisher.remove(version - 1)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        running.process.kill()
        running.process.wait()
    return result


def _await_swap(watcher: Grpc, version: int, result: Result) -> None:
    """Note when a version becomes AVAILABLE and when the one before has ended."""
    deadline = time.monotonic() + _WAIT_S
    while version - 1 not in result.gone:
        states = {status.version: status.state for status in watcher.statuses("m")}
        now = time.monotonic()
        assert now < deadline, states
        if version in states:
            result.loading.setdefault(version, now)
        if version not in result.seen and states.get(version) == 30:
            result.seen[version] = now
        if states[version - 1] == 50:
            result.gone[version - 1] = now
        time.sleep(0.005)


def main() -> int:
    """Run from the command line; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--swaps", type=int, default=100)
    parser.add_argument("--template", type=Path, help="only write the model into this folder")
    arguments = parser.parse_args()
    if arguments.template:
        write_template(arguments.template)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        result = run(Path(folder), arguments.swaps)
    print(result.table())
    problems = [*result.failures, *result.wrong()]
    print(*problems[:20], sep="\n")
    return int(bool(problems) or result.growth_mb() > ALLOWED_GROWTH_MB)


if __name__ == "__main__":
    sys.exit(main())
