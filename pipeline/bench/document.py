"""`bench.json` as types. Keys only ever get added."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from pipeline.config import Frozen
from pipeline.report.model import Interval

JSON, PAGE = "bench.json", "bench.html"
METHOD = (
    "geometric mean over the blocks (of a search: over the rounds) with Student's t 95 % interval over their "
    "logarithms; a ratio is taken in each pair of blocks that ran next to each other"
)


class Ratio(Interval):
    """More than 1 is better than `against`; `pairs` of blocks make the interval. `valid`: both sides' blocks are."""

    against: str
    pairs: int
    valid: bool


class Trial(Frozen):
    """One rate that a search for the highest tried. `p99_ms` is null where nothing was answered."""

    round: int
    rate_per_s: float
    p99_ms: float | None
    shed: int
    valid: bool
    meets_bound: bool


class ServerTime(Frozen):
    """Means per request, in milliseconds, of the requests of this target's blocks alone (of a search: of the blocks at
    the highest rates).

    `client_ms` is what the client waited for an answer from its sending; the other three add up to it: `network_ms` is
    the network and the client's encoding and decoding, `server_ms` the server's, and what else it does, `runtime_ms`
    the model's run (with batching on also the wait for a batch). `server_ms` is null where it is told together with
    `runtime_ms`. `requests` are those that were sent, all of which the server counted.
    """

    client_ms: float
    network_ms: float
    server_ms: float | None
    runtime_ms: float
    requests: int

    @property
    def request_ms(self) -> float:
        """The server's whole time."""
        return (self.server_ms or 0.0) + self.runtime_ms


class Result(Frozen):
    """One target under one scenario.

    `queries` of SingleStream, MultiStream and Server; of Offline, requests of `batch` samples. Latencies of Server
    count from a sample's scheduled arrival. `shed` were refused because the server had too many; `late` came after
    `bound_ms` or not at all. `max_rate_per_s` is the highest rate whose percentile stays within it.
    `latency_speedup` compares medians (Server and Offline too), `throughput_ratio` throughputs, `max_rate_ratio` the
    highest rates.
    `valid`: the generator calls every block valid and its numbers agree with ours; else `problems` says why not, and
    `advice` what would make it valid. `client_cores` is the measuring process' processor time per second, of the
    block that took most; above 0.8 the client in Python limits the rate (`client_limited`), not what is measured.
    """

    scenario: Literal["SingleStream", "MultiStream", "Server", "Offline"]
    concurrency: int
    batch: int
    generator: str
    blocks: int
    queries: int
    percentile: float
    valid: bool
    problems: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()
    p50_ms: Interval | None
    p90_ms: Interval | None
    p99_ms: Interval | None
    throughput_per_s: Interval | None
    shed: int = 0
    late: int = 0
    rate_per_s: float | None = None
    bound_ms: float | None = None
    max_rate_per_s: Interval | None = None
    trials: tuple[Trial, ...] = ()
    client_cores: float | None = None
    client_limited: bool = False
    server: ServerTime | None = None
    latency_speedup: Ratio | None = None
    throughput_ratio: Ratio | None = None
    max_rate_ratio: Ratio | None = None
    histogram: dict[str, Any] = Field(default_factory=dict)

    @property
    def title(self) -> str:
        """Such as "Offline, batch 32, concurrency 4"."""
        parts: list[str] = [self.scenario]
        if self.scenario in ("MultiStream", "Offline"):
            parts.append(f"batch {self.batch}")
        if self.scenario in ("Server", "Offline"):
            parts.append(f"concurrency {self.concurrency}")
        return ", ".join(parts)


class Target(Frozen):
    """What was measured. `threads` of the runtime; null where a server has its own. `error` is why there are no (or not
    all) results. `samples` says what went in, `server` which server it is, where that can be known, and `version` which
    one of the served model answered.
    """

    name: str
    runtime: str
    threads: int | None = None
    protocol: str | None = None
    encoding: str | None = None
    connection: str | None = None
    server: Mapping[str, str | None] | None = None
    version: int | None = None
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    samples: str = ""
    notes: tuple[str, ...] = ()
    error: str | None = None
    results: tuple[Result, ...] = ()

    @property
    def place(self) -> str:
        """Such as "LiteRT, 1 thread" or "served, gRPC"."""
        from pipeline.report.words import where

        if self.protocol:
            version = "" if self.version is None else f", version {self.version}"
            return where(self.runtime, self.protocol) + version
        if self.threads is None:
            return self.runtime
        return f"{where(self.runtime, None)}, {self.threads} thread{'' if self.threads == 1 else 's'}"


class Bench(Frozen):
    """The whole of `bench.json`; `settings` are the options with their defaults.

    `stopped`: it was ended from outside, so that blocks, scenarios or targets are missing.
    """

    schema_: Literal[1] = Field(default=1, alias="schema")
    modelmill: str
    against: str
    seed: int
    method: str = METHOD
    settings: dict[str, Any]
    targets: tuple[Target, ...]
    stopped: bool = False
    machine: dict[str, Any] = Field(default_factory=dict)

    def titles(self) -> list[str]:
        """Return the scenarios that some target has a result of, in their order."""
        return list(dict.fromkeys(one.title for target in self.targets for one in target.results))

    def of(self, title: str) -> list[tuple[Target, Result]]:
        """Return the targets that have a result of a scenario, with it."""
        return [(target, one) for target in self.targets for one in target.results if one.title == title]

    def invalid(self) -> list[str]:
        """Return a line for each result that is not valid: which, why, and what would make it valid."""
        lines = []
        for target in self.targets:
            for one in target.results:
                if not one.valid:
                    todo = f"; what to do: {'; '.join(one.advice)}" if one.advice else ""
                    lines.append(f"{target.name}, {one.title}: INVALID: {'; '.join(one.problems)}{todo}")
        return lines


def read(folder: Path) -> Bench:
    """Return what `page.write` wrote."""
    return Bench.model_validate_json((folder / JSON).read_bytes())
