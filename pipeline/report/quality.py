"""Which of a model's metrics it is judged by, and how they and their changes are written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from pipeline.metric import Metric, of_key
from pipeline.report.model import Interval
from pipeline.variants import VARIANTS

CHANGES = ("drop", "drop_against_previous", *(variant.change for variant in VARIANTS))
# what models are judged by in a report of an earlier version, which does not say
_UNSAID = ("accuracy", "r2")


class Judged(Protocol):
    """A run of an artifact, or a stage's model."""

    @property
    def metrics(self) -> Mapping[str, Interval]: ...

    @property
    def judged(self) -> list[str]: ...


@dataclass(frozen=True)
class Quality:
    """What one head of a model is judged by.

    Attributes:
        head: its name where a model has several, else empty.
        found: of the metric, or of how it changed.
    """

    head: str
    metric: Metric
    found: Interval

    @property
    def noun(self) -> str:
        return self.metric.noun

    @property
    def text(self) -> str:
        """The value with its unit, and of which head it is."""
        value = self.metric.text(self.found.value)
        return f"{self.head} {value}" if self.head else value

    @property
    def low(self) -> str:
        return self.metric.written(self.found.low)

    @property
    def high(self) -> str:
        return self.metric.written(self.found.high)

    @property
    def said(self) -> str:
        """The value as part of a sentence: "right on 97.2 %", "R2 0.4312"."""
        if self.metric.name != "accuracy":
            return f"{self.noun} {self.text}"
        value = f"right on {self.metric.text(self.found.value)}"
        return f"{self.head} {value}" if self.head else value

    @property
    def what(self) -> str:
        """What stands beside the value: "right" or the noun."""
        return "right" if self.metric.name == "accuracy" else self.noun

    @property
    def points(self) -> str:
        """A change and its size without the sign: "2.0 points", "0.03"."""
        return f"{self.metric.difference(abs(self.found.value))}{self.metric.step}"

    @property
    def risen(self) -> Interval:
        """A loss as the change of the value: from what it was, to what it is."""
        drop = self.found
        if self.metric.lower:
            return drop
        return Interval(value=-drop.value, low=-drop.high, high=-drop.low)


def qualities(of: Judged, suffix: str = "") -> list[Quality]:
    """Return what a model's heads are judged by, in their order.

    Args:
        suffix: "" for the values themselves, or one of CHANGES of them.
    """
    ending = f"_{suffix}" if suffix else ""
    return [
        Quality(*of_key(key), of.metrics[key + ending])
        for key in of.judged or _unsaid(of)
        if key + ending in of.metrics
    ]


def _unsaid(of: Judged) -> list[str]:
    found: dict[str, None] = {}
    for key in of.metrics:
        for change in CHANGES:
            key = key.removesuffix(f"_{change}")
        try:
            _, metric = of_key(key)
        except KeyError:
            continue
        if metric.name in _UNSAID:
            found[key] = None
    return list(found)


def quality(of: Judged) -> Quality | None:
    """Return what a model is judged by; of several heads the first."""
    return next(iter(qualities(of)), None)


def change(of: Judged, suffix: str) -> Quality | None:
    """Return how what a model is judged by changed, see `qualities`; of several heads the one that changed most."""
    return max(qualities(of, suffix), key=lambda one: one.found.value, default=None)


def metrics_of(every: Iterable[Judged]) -> list[Metric]:
    """Return what some models are judged by, each once."""
    return list(dict.fromkeys(one.metric for of in every for one in qualities(of)))
