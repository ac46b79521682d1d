"""What a server says of its own time while a target's blocks ran, taken together over them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.bench.document import ServerTime
from pipeline.measuring.load.plan import Load
from pipeline.measuring.turns import Turn
from serving.client import monitoring
from serving.client.monitoring import Told


@dataclass(frozen=True)
class Asked:
    """A block's queries, and what the server told of them.

    Attributes:
        told: None: nobody asked the server.
        queries, samples: that were answered.
        client_ms: mean time of a query, from its sending; NaN of none.
    """

    told: Told | None
    queries: int
    samples: int
    client_ms: float

    @staticmethod
    def in_turn(block: Turn, batch: int) -> Asked:
        """Return what is told of a block of SingleStream or MultiStream."""
        times = block.latencies_ns
        return Asked(block.told, times.size, batch * times.size, float(times.mean()) / 1e6 if times.size else math.nan)

    @staticmethod
    def under_load(block: Load) -> Asked:
        """Return what is told of a block of Server or Offline; a shed request is none that is answered."""
        samples = round(block.throughput_per_s * block.seconds)  # the last request of Offline may have fewer
        return Asked(block.told, int(block.latencies_ns.size), samples, block.request_ms)


def mean(blocks: Sequence[Asked], *, one_by_one: bool) -> tuple[ServerTime | None, str]:
    """Return the means per request, and why they are not known, or not of all blocks; empty where they are.

    Only blocks count of which the server counted the very requests that were sent: else the client's mean and the
    server's are of different requests, and their difference is no network.

    Args:
        one_by_one: each sample was a request of its own.
    """
    watched = [one for one in blocks if one.told is not None and one.queries]
    usable = [(one, time) for one in watched if not _doubt(one, one_by_one) and (time := _time(one))]
    doubts = dict.fromkeys(doubt for one in watched if (doubt := _doubt(one, one_by_one)))
    why = "; ".join(doubts)
    if not usable:
        return None, f"the server does not tell its own time: {why}" if why else ""
    requests = sum(time.requests for _, time in usable)
    client_ms = sum(one.client_ms * one.queries for one, _ in usable) / requests
    request_ms = sum(time.request_ms * time.requests for _, time in usable) / requests
    runs = [(time.runtime_ms, time.requests) for _, time in usable if time.runtime_ms is not None]
    runtime_ms = sum(ms * number for ms, number in runs) / requests if len(runs) == len(usable) else None
    found, problem = monitoring.shares(client_ms, monitoring.ServerTime(requests, request_ms, runtime_ms))
    if found is None:
        return None, f"the server does not tell its own time: {problem}"
    told = ServerTime(
        client_ms=client_ms, network_ms=found.network_ms, server_ms=found.server_ms, runtime_ms=found.runtime_ms,
        requests=requests,
    )  # fmt: skip
    return told, f"the server's own time is that of {len(usable)} of {len(blocks)} blocks: {why}" if why else ""


def _time(one: Asked) -> monitoring.ServerTime | None:
    return None if one.told is None else one.told.time


def _doubt(one: Asked, one_by_one: bool) -> str:
    """Return why a block's time is not known, or not that of its own requests."""
    time, sent = _time(one), one.samples if one_by_one else one.queries
    if time is None:
        return one.told.why if one.told else ""
    if time.requests != sent:
        return f"it counted {time.requests} requests where {sent} were sent: others ask it too"
    return ""
