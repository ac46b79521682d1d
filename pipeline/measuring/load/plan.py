"""What a block of load is, and what came of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.measuring.histogram import Histogram
from pipeline.predictor import Predictor
from serving.client.monitoring import Told

Scenario = Literal["Server", "Offline"]

# the shortest block of a submission to MLPerf, in every scenario; ours are as long as the caller says, and much shorter
SUBMISSION_MS = 600_000
# processor cores of a client in Python, above which it is what limits the rate: it is one process with one lock
CLIENT_LIMIT_CORES = 0.8
# makes one worker's predictor: with an interpreter or a connection of its own, used by one thread, and closed by it
Open = Callable[[], Predictor]


@dataclass(frozen=True)
class Plan:
    """A block of load (MLPerf Inference rules, section 3; Reddi et al., 2020).

    Server: single samples arrive as a Poisson process, whether or not earlier ones have been answered. Offline: all
    samples are there at once, and are asked for in requests of `batch`.

    Attributes:
        concurrency: requests in flight at most, 1 to 64; each worker has a predictor of its own.
        rate_per_s: of the arrivals; Server only, else None.
        bound_ms: of the latency at `percentile`; Server only, and None there to learn the latency at a rate.
        batch: samples a request; 1 in Server.
        percentile: in (0, 1).
        min_duration_ms, max_duration_ms, min_queries: how long the block is; a sample of Offline counts as a query.
            They are ours: a submission to MLPerf lasts 600 s (`SUBMISSION_MS`), and its Offline has 24,576 samples.
        seed: of the arrivals and of the order of the samples.
    """

    scenario: Scenario
    concurrency: int
    rate_per_s: float | None
    bound_ms: float | None
    batch: int
    percentile: float
    min_duration_ms: int
    max_duration_ms: int
    min_queries: int
    seed: int = 0


@dataclass(frozen=True)
class Load:
    """What came of a block.

    Attributes:
        plan: what was asked for.
        generator: its name and version.
        latencies_ns: int64 [answered], sorted. Server: from a sample's scheduled arrival to its answer, so with the
            time that it waited for a worker. Offline: of each request, from its sending to its answer.
        shed: requests that the server refused because it had too many (RESOURCE_EXHAUSTED, or UNAVAILABLE by a full
            batching queue); they were not answered, and count as late.
        seconds: from the first request to the last answer.
        throughput_per_s: samples answered per second.
        valid: whether the generator calls it valid, and our own check of its numbers holds.
        problems: why not, each reason once; empty where valid.
        advice: for each problem what would make it valid, such as "min_duration_ms 1200" or "a rate below 310/s".
        client_cores: processor time of the measuring process over `seconds`; see `client_limited`.
        request_ms: mean time of a request that was answered, from its sending, so without the wait for a worker: what
            a server's own time is compared with.
        told: what the server said of the block's own requests, where one was watched.
    """

    plan: Plan
    generator: str
    latencies_ns: np.ndarray
    shed: int
    seconds: float
    throughput_per_s: float
    valid: bool
    problems: tuple[str, ...]
    advice: tuple[str, ...]
    client_cores: float
    request_ms: float = math.nan
    told: Told | None = None

    @property
    def client_limited(self) -> bool:
        """Whether the client in Python is at its own limit; of a model in another process, else the time is its own."""
        return self.client_cores > CLIENT_LIMIT_CORES

    @property
    def requests(self) -> int:
        """Those answered and those shed."""
        return int(self.latencies_ns.size) + self.shed

    def late(self) -> int:
        """Return how many were answered after the bound or, in Server, not at all."""
        if self.plan.bound_ms is None:
            return self.shed if self.plan.scenario == "Server" else 0
        return int(np.count_nonzero(self.latencies_ns > self.plan.bound_ms * 1e6)) + self.shed

    def meets_bound(self) -> bool:
        """Return whether the percentile of all requests, shed ones being infinitely late, is within the bound."""
        return self.requests > 0 and self.late() <= self.requests * (1 - self.plan.percentile)

    def percentile_ms(self, share: float) -> float:
        """Return a percentile of all requests, shed ones being infinitely late; NaN of none."""
        if not self.requests:
            return math.nan
        position = min(int(self.requests * share), self.requests - 1)
        return float(self.latencies_ns[position]) / 1e6 if position < self.latencies_ns.size else math.inf

    def histogram(self) -> Histogram:
        """Return the latencies of those answered, to be added to other blocks'."""
        return Histogram.of(self.latencies_ns)
