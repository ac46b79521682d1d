"""What the report says of a stage's model beside a variant of it: what the teacher gained, what removal lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from pipeline import variants
from pipeline.metric import METRICS, Metric
from pipeline.report.document import Report
from pipeline.report.model import Interval, Model
from pipeline.report.quality import Quality, change
from pipeline.variants import Variant


@dataclass(frozen=True)
class Words:
    """How a variant and what it shows are told.

    Attributes:
        title: of both, after the stage's subject.
        columns: the stage's model and the variant, in the table and the key of the curves.
        curves: what both are called in the chart.
        better, worse, open: what the interval of the difference says of what the variant lacks.
    """

    title: str
    columns: tuple[str, str]
    curves: tuple[str, str]
    better: str
    worse: str
    open: str


_WORDS: Mapping[Variant, Words] = {
    variants.ALONE: Words(
        title="with and without its teacher", columns=("with teacher", "alone"), curves=("taught", "alone"),
        better="The teacher helped", worse="The teacher did harm", open="No effect of the teacher is proven",
    ),
    variants.CONTROL: Words(
        title="with and without channel removal", columns=("shrunk", "control"), curves=("shrunk", "control"),
        better="Removing channels helped", worse="Removing channels cost",
        open="No loss by removing channels is proven",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """What a stage made, and what it made once more to compare."""

    variant: Variant
    model: Model
    other: Model

    @property
    def words(self) -> Words:
        return _WORDS[self.variant]

    @property
    def subject(self) -> str:
        """The model as a heading begins with it."""
        return "The student" if self.model.stage == "distill" else self.model.stage

    @property
    def learned(self) -> list[str]:
        """What was learned of the teacher, where that is the difference."""
        return self.model.taught if self.variant == variants.ALONE else []

    @property
    def effect(self) -> Quality | None:
        """What the stage's model is better by; of several heads that which changed most. None: not measured."""
        found = change(self.model, self.variant.change)
        if found is None or not self.variant.costs:
            return found
        lost = found.found
        return replace(found, found=Interval(value=-lost.value, low=-lost.high, high=-lost.low))

    @property
    def said(self) -> str:
        """What came of it in a sentence; empty where nothing was measured."""
        found = self.effect
        return said(self.variant, found.found, found.metric) if found else ""


def pairs(report: Report) -> list[Pair]:
    """Return what each stage made beside each variant of it, of the stages that have any."""
    line = {model.stage: model for model in report.models if not model.variant}
    known = {variant.name: variant for variant in variants.VARIANTS}
    return [
        Pair(known[model.variant], line[model.stage], model)
        for model in report.models
        if model.variant in known and model.stage in line
    ]


def said(variant: Variant, effect: Interval, metric: Metric = METRICS["accuracy"]) -> str:
    """Return in a sentence what came of what a variant lacks.

    Args:
        effect: how much worse the variant is than the stage's own model.
    """
    words = _WORDS[variant]
    value, low, high = (metric.difference(edge, signed=True) for edge in (effect.value, effect.low, effect.high))
    of = f"{metric.noun} lower by {value}" if metric.lower else f"{value}{metric.step} of {metric.noun}"
    lead = words.better if effect.low > 0 else words.worse if effect.high < 0 else words.open
    return f"{lead}: {of}, 95 % {low} to {high}"
