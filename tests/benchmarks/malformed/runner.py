"""Sends a mix of requests from several clients at once, and tells what came back."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from random import Random

import psutil

from tests.benchmarks.malformed import grpc_requests, rest_requests
from tests.benchmarks.malformed.clients import GrpcClient, Outcome, RestClient

FIRST = 2000  # the server's memory is compared with that after these
_MIX = [("gRPC", kind, share) for kind, (share, _) in grpc_requests.KINDS.items()] + [
    ("REST", kind, share) for kind, (share, _) in rest_requests.KINDS.items()
]
_SHARES = [share for *_, share in _MIX]


@dataclass(frozen=True)
class Result:
    """What a run showed.

    Attributes:
        memory: bytes of the server's process after the first requests, and after all.
        seconds: how long it took.
    """

    outcomes: list[Outcome]
    memory: tuple[int, int]
    seconds: float

    @property
    def wrong(self) -> list[Outcome]:
        """Return what was not answered as expected."""
        return [outcome for outcome in self.outcomes if outcome.got != outcome.expected]

    @property
    def memory_is_kept(self) -> bool:
        """Return whether the memory grew by no more than 5 % or 50 MB."""
        before, after = self.memory
        return after - before <= max(0.05 * before, 50e6)

    def table(self) -> str:
        """Return a line for each kind of request, in Markdown."""
        lines = ["| protocol | request | number | expected and got | otherwise |", "|---|---|---:|---|---:|"]
        for protocol, kind, _ in _MIX:
            here = [outcome for outcome in self.outcomes if (outcome.protocol, outcome.kind) == (protocol, kind)]
            right = Counter(outcome.got for outcome in here if outcome.got == outcome.expected)
            codes = ", ".join(f"{code} {count}" for code, count in right.most_common())
            lines.append(f"| {protocol} | {kind} | {len(here)} | {codes} | {len(here) - right.total()} |")
        lines.append(f"| both | all | {len(self.outcomes)} | | {len(self.wrong)} |")
        return "\n".join(lines)


def run(pid: int, port: int, rest_port: int, requests: int, seed: int, clients: int) -> Result:
    """Send requests; which ones follows from the seed alone.

    Args:
        pid: of the server.
        clients: that send at the same time; each waits for its answer.
    """
    process = psutil.Process(pid)
    started = time.monotonic()
    outcomes = _send(port, rest_port, range(min(FIRST, requests)), seed, clients)
    before = process.memory_info().rss
    outcomes += _send(port, rest_port, range(FIRST, requests), seed, clients)
    return Result(outcomes, (before, process.memory_info().rss), time.monotonic() - started)


def _send(port: int, rest_port: int, numbers: Sequence[int], seed: int, clients: int) -> list[Outcome]:
    def send(own: Sequence[int]) -> list[Outcome]:
        grpc_client, rest_client = GrpcClient(port), RestClient(rest_port)
        try:
            return [_one(number, seed, grpc_client, rest_client) for number in own]
        finally:
            grpc_client.close()
            rest_client.close()

    with ThreadPoolExecutor(clients) as pool:
        return [outcome for found in pool.map(send, [numbers[n::clients] for n in range(clients)]) for outcome in found]


def _one(number: int, seed: int, grpc_client: GrpcClient, rest_client: RestClient) -> Outcome:
    random = Random(f"{seed}/{number}")
    protocol, kind, _ = random.choices(_MIX, _SHARES)[0]
    if protocol == "gRPC":
        return grpc_client.send(grpc_requests.make(random, kind))
    return rest_client.send(rest_requests.make(random, kind))
