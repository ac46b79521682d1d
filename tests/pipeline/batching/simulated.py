"""TF Serving's batching as a simulation of events: what a search can be tried on, and what it should find.

Requests of one sample arrive as a Poisson process. They join the open batch; a batch runs when it is full or its wait
is over and a thread is free, for `fixed + each * size` seconds; a full queue sheds. Without batching each request is a
batch of its own, on as many threads as there are cores, and waits without end. Threads beyond
the cores slow each other.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

import numpy as np

from pipeline.batching.candidates import Candidate
from pipeline.measuring.load.plan import Load, Plan


@dataclass
class Simulated:
    """A server of a model whose batch of n takes `fixed + each * n` seconds on one core."""

    fixed: float
    each: float
    cores: int
    bound_ms: float
    requests: int = 2000
    noise: float = 0.0
    asked: list[tuple[Candidate, float, int]] = field(default_factory=list)

    def measure(self, candidate: Candidate, rate_per_s: float, turn: int) -> Load:
        self.asked.append((candidate, rate_per_s, turn))
        generator = np.random.default_rng(turn)
        arrivals = np.cumsum(generator.exponential(1 / rate_per_s, self.requests))
        slower = float(np.exp(self.noise * np.random.default_rng(len(self.asked)).standard_normal()))
        latencies, shed = self._run(candidate, arrivals.tolist(), slower)
        plan = Plan("Server", 64, rate_per_s, self.bound_ms, 1, 0.99, 0, 0, self.requests, turn)
        seconds = float(arrivals[-1])
        taken = np.sort(np.asarray(np.array(latencies) * 1e9, np.int64))
        return Load(plan, "simulated", taken, shed, seconds, len(latencies) / seconds, True, (), (), client_cores=0.1)

    def _run(self, candidate: Candidate, arrivals: list[float], slower: float) -> tuple[list[float], int]:
        one = candidate.batching
        size = one.max_batch_size if one else 1
        wait = one.batch_timeout_micros / 1e6 if one else 0.0
        threads = one.num_batch_threads if one else self.cores
        most = one.max_enqueued_batches if one else len(arrivals)
        assert size is not None and threads is not None and most is not None
        crowded = max(1.0, threads / self.cores) * slower
        free = [0.0] * threads  # when each thread is free again
        queue: list[tuple[float, list[float]]] = []  # (closes, arrivals of its requests); the last may be open
        latencies, shed = [], 0

        def dispatch(now: float) -> None:
            """Run what begins before `now`."""
            while queue:
                closes, batch = queue[0]
                ready = batch[-1] if len(batch) >= size or len(queue) > 1 else closes
                if len(queue) > 1 and len(batch) < size:
                    ready = queue[1][1][0]
                begin = max(ready, free[0])
                if begin > now:
                    return
                heapq.heappop(free)
                queue.pop(0)
                padded = len(batch)
                if one and one.allowed_batch_sizes:
                    padded = next(n for n in one.allowed_batch_sizes if n >= len(batch))
                end = begin + (self.fixed + self.each * padded) * crowded
                heapq.heappush(free, end)
                latencies.extend(end - came for came in batch)

        for came in arrivals:
            dispatch(came)
            if queue and len(queue[-1][1]) < size:
                queue[-1][1].append(came)
            elif len(queue) >= most:
                shed += 1
            else:
                queue.append((came + wait, [came]))
        dispatch(float("inf"))
        return latencies, shed

    def best_rate(self, candidate: Candidate) -> float:
        """Return the highest rate that meets the bound, by bisection over long blocks."""
        low, high = 10.0, 1e5
        long = Simulated(self.fixed, self.each, self.cores, self.bound_ms, 4000)
        while high / low > 1.03:
            middle = (low * high) ** 0.5
            low, high = (middle, high) if long.measure(candidate, middle, 1).meets_bound() else (low, middle)
        return low
