"""What was shipped of a run: the image that `modelmill image` made of it last, as the report shows it."""

from __future__ import annotations

from typing import Literal

from pipeline.config import Frozen
from pipeline.report.gate import Gate


class FirstRequest(Frozen):
    """The first request that a fresh container answered, on a connection of a fresh client.

    `tries_ms` has one for each container that was started for it; a busy machine only ever adds, so the least counts.
    `p50_ms` and `p99_ms` are those of the later ones, single samples over the same protocol.
    """

    protocol: Literal["grpc", "rest"]
    tries_ms: list[float]
    p50_ms: float
    p99_ms: float

    @property
    def ratio(self) -> float:
        """The least over the p99."""
        return min(self.tries_ms) / self.p99_ms


class Base(Frozen):
    """What the image is built on."""

    name: str
    id: str
    bytes: int


class Shipped(Frozen):
    """The image of an artifact; image.json beside the report has all of it.

    `tag` is null where it failed its gates, or could not be judged, and is gone; `wanted` would have been its name.
    `added` are the bytes that it has above its base. `command` starts it.
    """

    verdict: Literal["pass", "fail", "error"]
    artifact: str
    tag: str | None
    wanted: str
    id: str
    base: Base
    bytes: int
    added: int
    first_requests: list[FirstRequest]
    gates: list[Gate]
    command: str
