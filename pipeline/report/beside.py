"""What the terminal and the page say of the simple model that was fitted beside."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.report.document import Report
from pipeline.report.model import Interval
from pipeline.report.quality import Judged, Quality, quality
from pipeline.report.words import number


@dataclass(frozen=True)
class Row:
    """One model beside the baseline, or the baseline itself, which gains nothing."""

    name: str
    found: Quality
    gained: Interval | None

    @property
    def gain(self) -> str:
        """How much better it is than the baseline, with its interval; empty for the baseline."""
        if self.gained is None:
            return ""
        low, value, high = (self._signed(edge) for edge in (self.gained.low, self.gained.value, self.gained.high))
        return f"{value}{self.found.metric.step} ({low} to {high})"

    @property
    def word(self) -> str:
        """What the interval proves: "better", "worse", or "no difference proven"."""
        if self.gained is None:
            return ""
        return "better" if self.gained.low > 0 else "worse" if self.gained.high < 0 else "no difference proven"

    def _signed(self, value: float) -> str:
        return self.found.metric.difference(value, signed=True)


def rows(report: Report) -> list[Row]:
    """Return the baseline, the reference's model, what is served and the result; none without a baseline."""
    baseline = report.baseline
    first = quality(baseline) if baseline else None
    if baseline is None or first is None:
        return []
    found = [Row(baseline.name, first, None)]
    judged: dict[str, Judged] = {model.key: model for model in report.models}
    judged |= {item.id: item.runs[0] for item in report.artifacts if item.runs}
    line = [model.key for model in report.models if not model.variant][:1]
    for name in dict.fromkeys([*line, report.to_serve, report.final]):
        gain, one = baseline.gain(name or ""), judged.get(name or "")
        if gain and one and (reached := quality(one)):
            found.append(Row(gain.of, reached, next(iter(gain.metrics.values()))))
    return found


def settings(report: Report) -> str:
    """Return what was fitted, and to what; empty without a baseline."""
    baseline = report.baseline
    return f"{baseline.settings}, fitted to the same {number(baseline.samples)} training samples" if baseline else ""


def lines(report: Report) -> list[str]:
    """Return a sentence for each row; none without a baseline."""
    if not (table := rows(report)):
        return []
    first, *others = table
    told = [f"Baseline: {first.name}, {first.found.noun} {first.found.text} ({first.found.low} to {first.found.high})"]
    return told + [f"{one.name}: {one.found.text}, {one.gain} against it: {one.word}" for one in others]
