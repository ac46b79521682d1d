"""Which of a model's metrics say whether it is right, and how they are written: accuracy for classes, R2 for values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from pipeline.report.model import Interval

NAMES = {"accuracy": "accuracy", "f1": "F1", "r2": "R2", "roc_auc": "ROC AUC"}


@dataclass(frozen=True)
class Quality:
    """What one head of a model is judged by.

    Attributes:
        head: its name where a model has several, else empty.
        noun: one of `NAMES`.
        found: at most 1, more is better.
    """

    head: str
    noun: str
    found: Interval

    def written(self, value: float) -> str:
        """Return a value of it without a unit: a number of per cent, or R2 itself."""
        return f"{100 * value:.1f}" if self.noun == "accuracy" else f"{value:.4f}"

    @property
    def unit(self) -> str:
        return " %" if self.noun == "accuracy" else ""

    @property
    def text(self) -> str:
        """The value with its unit, and of which head it is."""
        value = f"{self.written(self.found.value)}{self.unit}"
        return f"{self.head} {value}" if self.head else value

    @property
    def low(self) -> str:
        return self.written(self.found.low)

    @property
    def high(self) -> str:
        return self.written(self.found.high)

    @property
    def said(self) -> str:
        """The value as part of a sentence: "right on 97.2 %", "R2 0.4312"."""
        right = f"right on {self.written(self.found.value)} %"
        value = right if self.noun == "accuracy" else f"{self.noun} {self.text}"
        return f"{self.head} {value}" if self.head and self.noun == "accuracy" else value


def qualities(metrics: Mapping[str, Interval], suffix: str = "") -> list[Quality]:
    """Return what a model's heads are judged by, in their order.

    Args:
        suffix: "" for the values themselves; "drop", "drop_against_previous", "gain_by_teaching" for changes of them.
    """
    return list(_qualities(metrics, f"_{suffix}" if suffix else ""))


def _qualities(metrics: Mapping[str, Interval], suffix: str) -> Iterator[Quality]:
    for key, found in metrics.items():
        for metric, noun in NAMES.items():
            if key == metric + suffix:
                yield Quality("", noun, found)
            elif key.endswith(f"_{metric}{suffix}"):
                yield Quality(key.removesuffix(f"_{metric}{suffix}"), noun, found)


def quality(metrics: Mapping[str, Interval]) -> Quality | None:
    """Return what a model is judged by; of several heads the first."""
    return next(_qualities(metrics, ""), None)


def change(metrics: Mapping[str, Interval], suffix: str) -> Quality | None:
    """Return how what a model is judged by changed, see `qualities`; of several heads the one that changed most."""
    return max(_qualities(metrics, f"_{suffix}"), key=lambda one: one.found.value, default=None)


def nouns(every: Iterable[Mapping[str, Interval]]) -> str:
    """Return what some models are judged by, in a word or two: the head of a column."""
    found = dict.fromkeys(one.noun for metrics in every for one in qualities(metrics))
    return ", ".join(found) or "accuracy"
