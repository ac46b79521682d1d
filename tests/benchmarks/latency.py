"""Speed of the embedded server: `python -m tests.benchmarks.latency [--json FILE]`.

First the time of one request after another over the call of the same model inside of the process, in alternating
blocks, so that a machine that is slow for a while is slow for all of them. Then how many requests 1, 4 and 16 clients
get answered, with and without batching. Prints tables in Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks import echo, requests, servers
from tests.benchmarks.clients import Task, Worker
from tests.benchmarks.models import SHAPES
from tests.benchmarks.throughput import Throughput, measure

IN_PROCESS = "in-process call"
BATCHINGS = {"off": None, "on, 0 us": 0, "on, 1000 us": 1000}  # batch_timeout_micros


@dataclass(frozen=True)
class Latency:
    """One way to ask a model, one request after another.

    Attributes:
        over_ms: median over the blocks of how much longer the block's median is than the in-process one beside it.
        ratio: median over the blocks of their quotient.
    """

    model: str
    way: str
    count: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    over_ms: float
    ratio: float


def latencies(model: str, ways: dict[str, Callable[[int], list[float]]], blocks: int, per_block: int) -> list[Latency]:
    """Measure ways to ask a model in alternating blocks.

    Args:
        ways: name -> what asks so many times and returns the seconds that each took.
    """
    times: dict[str, list[list[float]]] = {name: [] for name in ways}
    for measure_block in ways.values():
        measure_block(per_block)  # not counted: the first calls are slow
    for _ in range(blocks):
        for name, measure_block in ways.items():
            times[name].append(measure_block(per_block))
    reference = np.median(times[IN_PROCESS], axis=1)
    found = []
    for name, measured in times.items():
        p50, p90, p99 = (round(1e3 * float(np.quantile(measured, share)), 3) for share in (0.5, 0.9, 0.99))
        medians = np.median(measured, axis=1)
        over_ms, ratio = 1e3 * np.median(medians - reference), np.median(medians / reference)
        count = blocks * per_block
        found.append(Latency(model, name, count, p50, p90, p99, round(float(over_ms), 3), round(float(ratio), 2)))
    return found


def in_process(path: Path, array: np.ndarray) -> Callable[[int], list[float]]:
    """Return what runs a SavedModel in this process, in a session as the server has it."""
    import tensorflow as tf

    from serving.server.sessions import graph as graph_session

    session, definitions = graph_session.load(path, ["serve"], tf.compat.v1.ConfigProto())
    signature = definitions["serving_default"]
    feeds, fetches = {signature.inputs["x"].name: array}, [signature.outputs["y"].name]

    def run(count: int) -> list[float]:
        times = []
        for _ in range(count):
            started = time.perf_counter()
            session.run(feeds, fetches, None)
            times.append(time.perf_counter() - started)
        return times

    return run


def asking(task: Task, stack: ExitStack) -> Callable[[int], list[float]]:
    """Return what sends a task's request over one connection, from a process that does nothing else."""
    client = stack.enter_context(Worker(task))
    client.wait()

    def run(count: int) -> list[float]:
        client.begin(count=count)
        outcome = client.outcome()
        if wrong := requests.wrong(task, outcome):
            raise RuntimeError(f"{wrong} of {count} answers over {task.protocol} are wrong")
        return outcome.times_s

    return run


def all_latencies(models: Path, work: Path, blocks: int, per_block: int) -> list[Latency]:
    """Measure every server that there is, and the echo."""
    found = []
    with ExitStack() as stack:
        echo_server = stack.enter_context(servers.echoing(work / "echo"))
        running = {
            name: stack.enter_context(servers.serving(program, models, work / name))
            for name, program in servers.programs().items()
        }
        for model in SHAPES:
            ways = {IN_PROCESS: in_process(models / model / "1", requests.sample(model))}
            for name, server in running.items():
                for protocol in ("gRPC", "REST"):
                    ways[f"{name}, {protocol}"] = asking(requests.task(protocol, model, server), stack)
            request = requests.task("gRPC", model, running["modelmill"]).request
            floor = Task("gRPC", echo_server.port, echo.PATH, request, request)
            ways["plain grpcio server that echoes"] = asking(floor, stack)
            found += latencies(model, ways, blocks, per_block)
    return found


def all_throughputs(models: Path, work: Path, clients: list[int], seconds: float) -> list[Throughput]:
    """Measure every server that there is, with and without batching."""
    found = []
    for name, program in servers.programs().items():
        for batching, timeout_us in BATCHINGS.items():
            with servers.serving(program, models, work / f"{name}-{batching}", timeout_us) as running:
                for model in SHAPES:
                    for protocol in ("gRPC", "REST"):
                        task = requests.task(protocol, model, running)
                        found += [measure(name, model, batching, task, count, seconds) for count in clients]
    return found


def table(rows: list[Any], names: dict[str, str]) -> str:
    """Return rows as a table in Markdown.

    Args:
        names: attribute -> heading.
    """
    lines = [list(names.values()), ["---"] * len(names), *([str(getattr(row, name)) for name in names] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


LATENCY = {"model": "model", "way": "asked by", "count": "n", "p50_ms": "p50 ms", "p90_ms": "p90 ms",
           "p99_ms": "p99 ms", "over_ms": "over in-process, ms", "ratio": "ratio"}  # fmt: skip
THROUGHPUT = {"server": "server", "model": "model", "protocol": "protocol", "batching": "batching",
              "clients": "clients", "answered_per_s": "answers/s", "shed": "shed", "wrong": "wrong",
              "p50_ms": "p50 ms", "p99_ms": "p99 ms"}  # fmt: skip


def main(arguments: list[str]) -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.latency", description=__doc__)
    parser.add_argument("--blocks", type=int, default=20, help="alternating blocks (%(default)s)")
    parser.add_argument("--per-block", type=int, default=200, help="requests in each (%(default)s)")
    parser.add_argument("--clients", type=int, nargs="*", default=[1, 4, 16], help="none: no throughput (%(default)s)")
    parser.add_argument("--seconds", type=float, default=3, help="for each throughput (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write what was measured here")
    options = parser.parse_args(arguments)
    binary = "measured beside it" if servers.BINARY in servers.programs() else "not on PATH, so not measured"
    machine = f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f} before, Python {platform.python_version()}"
    print(f"Machine: {machine}. {servers.BINARY}: {binary}.\n", flush=True)
    with tempfile.TemporaryDirectory() as name:
        models, work = Path(name) / "models", Path(name)
        command = [sys.executable, "-m", "tests.benchmarks.models", str(models)]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        latency = all_latencies(models, work, options.blocks, options.per_block)
        print(table(latency, LATENCY), flush=True)
        throughput = all_throughputs(models, work, options.clients, options.seconds) if options.clients else []
        if throughput:
            print("\n" + table(throughput, THROUGHPUT))
    if options.json:
        document = {"machine": machine, servers.BINARY: binary, "latency": [asdict(row) for row in latency],
                    "throughput": [asdict(row) for row in throughput]}  # fmt: skip
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
