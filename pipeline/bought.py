"""What each stage bought against the stage before it: arithmetic on what was measured, instant, always done anew.

An artifact is compared with one of the same format in the same place (runtime and protocol), block by block, as they
took turns. It counts as faster or slower only where the whole 95 % interval is on that side of 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from pipeline.causes import SMALLER, causes
from pipeline.report.document import Artifact, Bought, Explained, Faster, Latency, Run
from pipeline.report.model import Model
from pipeline.report.quality import Quality, change
from pipeline.report.words import precision, ratio, where
from pipeline.students_t import geometric_mean

WEIGHTS = "weights"
FORMATS = ("tflite", "saved_model", "onnx")  # the first that both stages have says how large they are


def bought(models: Sequence[Model], artifacts: Sequence[Artifact]) -> list[Bought]:
    """Compare each stage's model with that of the stage before it; what a stage made to compare is none of them.

    Args:
        models: in the order of the stages.
        artifacts: as measured, or as exported where nothing was measured.
    """
    line = [model for model in models if model.variant == ""]
    return [_bought(before, after, artifacts) for before, after in pairwise(line)]


def explained(artifacts: Sequence[Artifact]) -> list[Explained]:
    """Return why files in other precisions, or with a fixed batch, are not faster than their stage's float32 file."""
    plain = [item for item in artifacts if item.precision == "float32" and not item.variant and item.path]
    floats = {(item.stage, item.format): item for item in plain}
    found = []
    for item in artifacts:
        twin = floats.get((item.stage, item.format))
        if twin is not None and twin is not item and item.path:
            why = causes(_over(twin.gzip_bytes, item.gzip_bytes), 1.0, list(_faster(twin, item)), [(twin, item)])
            found += [Explained(artifact=item.id, against=twin.id, causes=why)] if why else []
    return found


def _bought(before: Model, after: Model, artifacts: Sequence[Artifact]) -> Bought:
    pairs = list(_pairs(before, after, artifacts))
    sized = next(((old, new) for old, new in pairs if old.gzip_bytes and new.gzip_bytes), None)
    sizes = (sized[0].id, sized[1].id) if sized else (WEIGHTS, WEIGHTS)
    old_bytes, new_bytes = (sized or (before, after))[0].gzip_bytes, (sized or (before, after))[1].gzip_bytes
    faster = [one for old, new in pairs for one in _faster(old, new)]
    size, drop = _over(old_bytes, new_bytes), change(after, "drop_against_previous")
    macs = _over(before.macs, after.macs)
    unsound = [where(*place) for old, new in pairs for place in _unsound(old, new)]
    return Bought(
        stage=after.stage, against=before.stage, parameters_ratio=_over(before.parameters, after.parameters),
        macs_ratio=macs, size_ratio=size, sizes=sizes, accuracy_drop=drop.found if drop else None,
        faster=faster,
        verdict=_verdict(size, faster, unsound, drop),
        causes=causes(size, macs, faster, pairs, after.channels),
    )  # fmt: skip


def _over(before: int | None, after: int | None) -> float:
    """Return before over after; 1 where one of them is nothing, so that there is nothing to compare."""
    return before / after if before and after else 1.0


def _pairs(before: Model, after: Model, artifacts: Sequence[Artifact]) -> Iterator[tuple[Artifact, Artifact]]:
    """Yield (before, after) for each format in which both models were exported."""
    for form in FORMATS:
        listed = [item for item in reversed(artifacts) if item.format == form and item.path]
        # of a precision's files the plain one, else the first
        found = {(item.stage, item.precision): item for item in sorted(listed, key=lambda item: not item.variant)}
        old = found.get((before.stage, precision(before.stage, form)))
        new = found.get((after.stage, precision(after.stage, form)))
        if old and new:
            yield old, new


def _shared(old: Artifact, new: Artifact) -> Iterator[tuple[Run, Latency, Latency]]:
    """Yield the new artifact's runs in places where both were timed in the same blocks, with both latencies."""
    there = {(run.runtime, run.protocol, run.target): run.single_stream() for run in old.runs}
    for run in new.runs:
        this, that = run.single_stream(), there.get((run.runtime, run.protocol, run.target))
        if this and that and len(this.block_p50_ms) == len(that.block_p50_ms) > 1:
            yield run, that, this


def _faster(old: Artifact, new: Artifact) -> Iterator[Faster]:
    for run, that, this in _shared(old, new):
        if this.valid and that.valid:
            pairs = list(zip(that.block_p50_ms, this.block_p50_ms, strict=True))
            value, low, high = geometric_mean([before / after for before, after in pairs])
            yield Faster(
                runtime=run.runtime, protocol=run.protocol, artifact=new.id, against=old.id, value=value, low=low,
                high=high, pairs=len(pairs),
            )  # fmt: skip


def _unsound(old: Artifact, new: Artifact) -> Iterator[tuple[str, str | None]]:
    for run, that, this in _shared(old, new):
        if not (this.valid and that.valid):
            yield run.runtime, run.protocol


def _verdict(size: float, faster: Sequence[Faster], unsound: Sequence[str], lost: Quality | None) -> str:
    """Return in plain words: smaller or not, faster or not and where, and whether it is still right."""

    def places(some: list[Faster]) -> str:
        return ", ".join(f"{where(one.runtime, one.protocol)} {ratio(one.value)}" for one in some)

    quick = [one for one in faster if one.low > 1]
    slow = [one for one in faster if one.high < 1]
    even = [one for one in faster if one not in quick and one not in slow]
    smaller, larger = size > SMALLER, size < 1 / SMALLER
    words = [f"smaller ({ratio(size)})" if smaller else f"larger ({ratio(size)})" if larger else "same size"]
    words += [f"faster ({places(quick)})"] if quick else []
    words += [f"not faster ({places(even)})"] if even else []
    words += [f"slower ({places(slow)})"] if slow else []
    words += [f"no valid latencies ({', '.join(unsound)})"] if unsound else []
    words += [] if faster or unsound else ["latency not compared"]
    both = quick and len(words) == 2 and smaller
    text = " and ".join(words) if both else ", ".join(words)
    if lost is None:
        return text
    return f"{text}; {_still_right(lost)}"


def _still_right(lost: Quality) -> str:
    drop, metric = lost.found, lost.metric
    accurate = metric.name == "accuracy"
    if drop.low > 0 or drop.high < 0:
        worse = drop.low > 0
        word = ("less accurate" if worse else "more accurate") if accurate else "worse" if worse else "better"
        by = f"{metric.noun} {lost.points} {'higher' if worse else 'lower'}" if metric.lower else lost.points
        return f"{word} ({by})" if accurate or metric.lower else f"{word} ({by} of {metric.noun})"
    value, low, high = (metric.difference(edge) for edge in (drop.value, drop.low, drop.high))
    what = f"rise of the {metric.noun}" if metric.lower else f"loss of {metric.noun}"
    return f"no {what} proven ({value}{metric.step}, 95 % {low} to {high})"
