"""How many requests a server answers when several clients ask, each a process that waits for its answer."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np

from tests.benchmarks import requests
from tests.benchmarks.clients import Task, Worker


@dataclass(frozen=True)
class Throughput:
    """What all clients together saw; times are of answered requests, wrong answers among them."""

    server: str
    model: str
    protocol: str
    batching: str
    clients: int
    answered_per_s: float
    shed: int
    wrong: int
    p50_ms: float
    p99_ms: float


def measure(server: str, model: str, batching: str, task: Task, clients: int, seconds: float) -> Throughput:
    """Let so many clients ask for so long.

    Raises:
        RuntimeError: a client failed.
    """
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker(task)) for _ in range(clients)]
        for worker in workers:
            worker.wait()
        for worker in workers:
            worker.begin(seconds=seconds)
        outcomes = [worker.outcome() for worker in workers]
    times_ms = 1e3 * np.concatenate([outcome.times_s for outcome in outcomes])
    if not len(times_ms):
        raise RuntimeError(f"{server} answered none of the requests for {model} over {task.protocol}")
    return Throughput(
        server, model, task.protocol, batching, clients,
        round(len(times_ms) / seconds, 1),
        sum(outcome.shed for outcome in outcomes),
        sum(requests.wrong(task, outcome) for outcome in outcomes),
        round(float(np.quantile(times_ms, 0.5)), 3),
        round(float(np.quantile(times_ms, 0.99)), 3),
    )  # fmt: skip
