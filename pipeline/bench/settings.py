"""What is measured and how: the command's options, checked together. Imports nothing of weight."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from pipeline.errors import InputError

if TYPE_CHECKING:
    from pipeline.measuring.latency_config import LatencyConfig

ScenarioName = Literal["single-stream", "multi-stream", "server", "offline"]
SCENARIOS: tuple[ScenarioName, ...] = get_args(ScenarioName)
DEFAULT = "single-stream,multi-stream,offline"
MOST = 64  # requests in flight
ROUNDS = 3  # of searches for the highest rate: each has many blocks
_LOADS = ("server", "offline")


@dataclass(frozen=True)
class Settings:
    """All options.

    Attributes:
        batch: samples per query of MultiStream, per request of Offline.
        concurrency: requests in flight, of Server and Offline.
        bound_ms: of the latency at `percentile`, of Server.
        rate_per_s: of Server's arrivals; None: the highest within the bound is searched.
        duration_s: least duration of a block.
        shapes: input -> its whole shape, for what a signature leaves open.
        metrics: address of a server's Prometheus page; None: of http:// targets and images the usual one.
        data: name or file of the samples; None: random values.
    """

    scenarios: tuple[ScenarioName, ...]
    batch: int
    concurrency: tuple[int, ...]
    threads: int
    blocks: int
    duration_s: float
    seed: int
    bound_ms: float | None = None
    rate_per_s: float | None = None
    data: str | None = None
    shapes: Mapping[str, tuple[int, ...]] | None = None
    metrics: str | None = None
    percentile: float = 0.99

    @property
    def duration_ms(self) -> int:
        return max(round(self.duration_s * 1000), 1)

    @property
    def longest_ms(self) -> int:
        """After this time a block ends even with too few queries."""
        return max(60_000, 4 * self.duration_ms)

    @property
    def rounds(self) -> int:
        """How often the highest rate is searched."""
        return min(self.blocks, ROUNDS)

    @property
    def searches(self) -> bool:
        return "server" in self.scenarios and self.rate_per_s is None

    def latency(self) -> LatencyConfig:
        """Return the blocks of SingleStream and MultiStream, as `measure` takes them."""
        from pipeline.measuring.latency_config import LatencyConfig

        return LatencyConfig(
            blocks=self.blocks, min_block_ms=self.duration_ms, batch_min_block_ms=self.duration_ms,
            max_block_ms=self.longest_ms, percentile=self.percentile, batch_size=max(self.batch, 2),
        )  # fmt: skip


def scenarios(text: str) -> tuple[ScenarioName, ...]:
    """Return the scenarios of "single-stream,offline".

    Raises:
        InputError: one is none.
    """
    named = [one.strip() for one in text.split(",") if one.strip()]
    wrong = [one for one in named if one not in SCENARIOS]
    if wrong or not named:
        from pipeline import recipe_problems  # it brings pydantic, which --help does without

        close = recipe_problems.nearest(wrong[0], SCENARIOS) if wrong else None
        raise InputError(
            f"--scenario {text}: no such scenario", expected=f"some of {', '.join(SCENARIOS)}, with commas between",
            found=", ".join(wrong) or "none", todo=f"did you mean {close}?" if close else f"leave it out for {DEFAULT}",
        )  # fmt: skip
    return tuple(one for one in SCENARIOS if one in named)


def concurrency(text: str) -> tuple[int, ...]:
    """Return the numbers of "1,4,16".

    Raises:
        InputError: one is no number from 1 to 64.
    """
    parts = [one.strip() for one in text.split(",") if one.strip()]
    wrong = [one for one in parts if not one.isdecimal() or not 1 <= int(one) <= MOST]
    if wrong or not parts:
        raise InputError(
            f"--concurrency {text}: so many requests cannot be in flight",
            expected=f"numbers from 1 to {MOST}, with commas between", found=", ".join(wrong) or "none",
            todo="such as --concurrency 1,4,16",
        )  # fmt: skip
    return tuple(sorted({int(one) for one in parts}))


def shapes(given: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Return input -> shape of "NAME=1,224,224,3".

    Raises:
        InputError: it has another form.
    """
    found = {}
    for one in given:
        match = re.fullmatch(r"(.+)=(\d+(?:,\d+)*)", one.strip())
        if not match or 0 in (sizes := tuple(int(size) for size in match[2].split(","))):
            raise InputError(
                f"--shape {one}: no such shape", expected="NAME=SIZES, the batch dimension first",
                found=one, todo="such as --shape input=1,224,224,3",
            )  # fmt: skip
        found[match[1]] = sizes
    return found


def check(one: Settings) -> None:
    """Refuse what does not go together.

    Raises:
        InputError: the server scenario without a bound or a rate, or options without their scenario.
    """
    served = "server" in one.scenarios
    if served and one.bound_ms is None and one.rate_per_s is None:
        raise InputError(
            "the server scenario needs a bound", expected="--bound MS, or --rate R for a fixed rate of arrivals",
            found="neither", todo="--bound 10 searches the highest rate whose p99 stays within 10 ms",
        )  # fmt: skip
    if not served and (one.bound_ms is not None or one.rate_per_s is not None):
        raise InputError(
            "--bound and --rate are for the server scenario", expected="--scenario server beside them",
            found=f"--scenario {','.join(one.scenarios)}", todo="add server to --scenario, or leave them out",
        )  # fmt: skip
    if one.concurrency != (1,) and not any(name in _LOADS for name in one.scenarios):
        raise InputError(
            "--concurrency is for server and offline: single-stream and multi-stream have one query at a time",
            expected=f"--scenario with {' or '.join(_LOADS)}", found=f"--scenario {','.join(one.scenarios)}",
            todo="add one of them, or leave --concurrency out",
        )  # fmt: skip
