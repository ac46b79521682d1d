"""What will get smaller and no faster, and why, as far as it is known before there are files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pipeline.causes import DENSE_KERNELS, IMITATED, REFERENCE_KERNELS, UNPACKED, VECTOR, filled_up
from pipeline.report.forecast import File, Foreseen
from pipeline.report.words import percent

if TYPE_CHECKING:
    from pipeline.doctor.forecast import Asked

# MACs for one sample: kernels need some 0.1 ms for as many, a request to a server takes several times that
_FEW = 5_000_000
_MOST_NAMES = 5
# format and precision -> why a CPU computes nothing faster with it
_AT_MOST_SMALLER = {
    ("saved_model", "fake-quant"): f"fake-quant operations in the graph {IMITATED}",
    ("tflite", "float16"): ("half as large, and computed in float32 on a CPU: weights are converted when it is loaded"),
    (
        "tflite",
        "int16x8",
    ): f"slower than float32 on a CPU: {REFERENCE_KERNELS}; it is for NPUs and DSPs that compute it",
    ("tflite", "weight-int4"): f"an eighth of the bytes of the weights, and no faster on a CPU: {UNPACKED}",
}


def reasons(stages: Sequence[Foreseen], files: Sequence[File], asked: Asked) -> list[str]:
    """Return a sentence for each thing that the recipe asks for and that will make nothing faster."""
    return list(_reasons(stages, files, asked))


def _reasons(stages: Sequence[Foreseen], files: Sequence[File], asked: Asked) -> Iterator[str]:
    by_name = {one.stage: one for one in stages}
    refused = {one.id for one in files if one.refused}
    made = [one for one in asked.planned if one.id not in refused]
    if "prune" in by_name:
        sparse = any((one.format, one.precision) == ("tflite", "sparse-float32") for one in made)
        but = "; the sparse-float32 file is computed sparsely where XNNPACK does that: ARM, x86 without AVX"
        yield (
            f"prune: zeros make files smaller once they are compressed, and no faster: {DENSE_KERNELS}"
            f"{but if sparse else ''}"
        )
    if "cluster" in by_name:
        yield (
            "cluster: few distinct weights make files smaller once they are compressed, and no faster: kernels "
            "multiply as often as before"
        )
    for item in made:
        if why := _AT_MOST_SMALLER.get((item.format, item.precision)):
            yield f"{item.id}: {why}"
    for one in files:
        if one.floating:
            some = ", ".join(one.floating[:_MOST_NAMES])
            more = f" and {len(one.floating) - _MOST_NAMES} more" if len(one.floating) > _MOST_NAMES else ""
            yield f"{one.id}: float fallback in {some}{more}, with conversions before and behind"
        if one.batch is not None:
            single = "it takes 1 sample at a time: a batch takes as many calls as it has samples"
            yield f"{one.id}: {single if one.batch == 1 else filled_up(one.batch)}"
    shrink = asked.sections.get("shrink")
    if shrink is not None and shrink.multiple is None:
        yield (
            f"shrink: with multiple null, widths may be no multiple of {VECTOR}: kernels that compute {VECTOR} at once "
            "may take as long as for the next multiple"
        )
    last = stages[-1]
    if last.macs is not None and last.macs < _FEW and not last.unknown_macs:
        yield (
            f"served: about {last.macs:,} MACs are little work; most of a request's time will be the way there and "
            "back, and the overhead of each operator, which no stage makes less"
        )
    float_share = _float_share(by_name.get("quantize"))
    if float_share > 0:
        yield f"quantize: layers that stay float have {percent(float_share)} % of the MACs"


def _float_share(stage: Foreseen | None) -> float:
    """Return which share of the known MACs is in layers that stay float."""
    if stage is None or not stage.macs:
        return 0.0
    return sum(layer.macs or 0 for layer in stage.layers if layer.how == "float") / stage.macs
