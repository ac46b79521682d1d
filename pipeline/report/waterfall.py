"""From the reference's bytes to the result's, a step for each stage; in equal ratios, so that lengths compare."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.report.axis import Axis, logarithmic
from pipeline.report.document import Report
from pipeline.report.model import Model
from pipeline.report.words import sized


@dataclass(frozen=True)
class Step:
    """What one stage did to the size; `before` is None for what the line starts with.

    Attributes:
        left, right: where the bar begins and ends, in per cent of the width.
        model: whose accuracy and latency stand beside it, None for a step that changed no model.
    """

    name: str
    before: int | None
    after: int
    left: float
    right: float
    model: Model | None

    @property
    def ratio(self) -> float:
        """How many times smaller it got."""
        return self.before / self.after if self.before else 1.0


@dataclass(frozen=True)
class Waterfall:
    """`what` says of what the bytes are; `total` goes from the first to the last."""

    what: str
    axis: Axis
    steps: tuple[Step, ...]
    total: Step


def waterfall(report: Report) -> Waterfall | None:
    """Return the steps; None where fewer than two sizes are known."""
    line = [model for model in report.models if not model.variant]
    by_stage = {one.stage: one for one in report.bought}
    files = {item.id: item for item in report.artifacts}
    bare: list[tuple[str, int | None, int, Model | None]] = []
    formats = set()
    for model in line:
        one = by_stage.get(model.stage)
        if one is None or not one.size_ratio or not one.sizes:  # the first of the line
            found = sized(model, report)
            if found and found.gzip_bytes:
                bare.append((model.name, None, found.gzip_bytes, model))
            continue
        old, new = (files.get(name) for name in one.sizes)
        before = old.gzip_bytes if old else next(item for item in line if item.stage == one.against).gzip_bytes
        after = new.gzip_bytes if new else model.gzip_bytes
        formats |= {new.format} if new else set()
        if before and after:
            bare.append((model.name, before, after, model))
    if len(bare) < 2:
        return None
    reference = files.get(report.reference or "")
    name, _, first, begin = bare[0]
    if reference and reference.gzip_bytes and formats and reference.format not in formats:
        form = " and ".join({"tflite": ".tflite", "onnx": ".onnx"}.get(one, one) for one in sorted(formats))
        bare[0:1] = [
            (f"{name}, as SavedModel", None, reference.gzip_bytes, begin),
            (f"{name}, as {form}", reference.gzip_bytes, first, None),
        ]
    what = "the exported files, gzipped" if formats else "the weights alone, gzipped"
    sizes = [size / 1000 for _, before, after, _ in bare for size in (before or after, after)]
    axis = logarithmic(sizes, room=1.1, ticks=6)

    def step(name: str, before: int | None, after: int, model: Model | None) -> Step:
        ends = sorted(100 * axis.at(size / 1000) for size in (before or after, after))
        left, right = (0.0, ends[1]) if before is None else ends
        return Step(name, before, after, left, max(right, left + 0.4), model)

    return Waterfall(what, axis, tuple(step(*facts) for facts in bare), step("in all", bare[0][2], bare[-1][2], None))
