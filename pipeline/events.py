"""What a run tells while it goes: typed events, which `console.py` draws, prints or writes as JSON lines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class StageStarted:
    """A stage begins; `reason` says why it was not reused."""

    stage: str
    reason: str


@dataclass(frozen=True)
class StageReused:
    """A stored result is used; `reason` says why that is right."""

    stage: str
    reason: str


@dataclass(frozen=True)
class StageFinished:
    """A stage's result is stored."""

    stage: str
    seconds: float
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Progress:
    """`done` of `total` units (`epoch`, `artifact`) of a stage; `metrics` are the latest values, `item` is at work."""

    stage: str
    unit: str
    done: int
    total: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    item: str = ""


@dataclass(frozen=True)
class Note:
    """What a reader should know: a fallback (from what, to what, why), an inferred value, an artifact's error."""

    stage: str
    text: str
    level: str = "info"  # "info" | "warning"


@dataclass(frozen=True)
class Trained:
    """A fit has ended: how fast its steps were and with which settings; `report/speed.py` says what is in `speed`."""

    stage: str
    speed: Mapping[str, Any]
    item: str = ""


@dataclass(frozen=True)
class Error:
    """The run ends in error where it stands: nobody above it is told."""

    message: str
    exit_code: int


Event = StageStarted | StageReused | StageFinished | Progress | Note | Trained | Error
Emit = Callable[[Event], None]
