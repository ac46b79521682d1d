"""A gate as a picture: what was found with its interval, and the side of the limit that is allowed."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.report.document import Gate


@dataclass(frozen=True)
class Gauge:
    """All in per cent of the width: the allowed part, the interval, the value."""

    allowed: tuple[float, float]
    limit: float
    low: float
    high: float
    value: float


def gauge(gate: Gate) -> Gauge | None:
    """Return the picture; None where nothing was measured."""
    if gate.value is None or gate.low is None or gate.high is None:
        return None
    ends = (gate.low, gate.high, gate.value, gate.limit)
    width = (max(ends) - min(ends)) or abs(gate.limit) or 1.0
    start, whole = min(ends) - 0.12 * width, 1.24 * width

    def at(value: float) -> float:
        return round(100 * (value - start) / whole, 2)

    limit = at(gate.limit)
    return Gauge((0.0, limit) if gate.upper else (limit, 100.0), limit, at(gate.low), at(gate.high), at(gate.value))
