"""Why a model is not faster, from its files and what runtimes say of them; every number in a sentence is a fact."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.report.document import Artifact, Faster, Operators
from pipeline.report.model import Channels, Clustered
from pipeline.report.words import percent, ratio, where

SMALLER = 1.005  # a size ratio above this is shown as more than 1.00
_WIDE = 1.02  # an interval that holds 1 and ends below this says that nothing became faster
_UNPROVEN = "no difference is proven, so there is none to explain; more measure.latency.blocks narrow the interval"
VECTOR = 8  # channels that kernels often compute at once
DENSE_KERNELS = "dense kernels multiply zeros as they multiply anything"
IMITATED = "compute in float what int8 kernels would do"
REFERENCE_KERNELS = "LiteRT has none but its reference kernels for int16 activations, which are written to be right"
UNPACKED = "its int4 weights are unpacked for each sample, as XNNPACK has no kernels for them"
_KERNELS = (
    "whether integer kernels are faster than float ones is a matter of the CPU and of the runtime's kernels for it"
)
_LITTLE = 0.25  # of the time: where more of it may go with the MACs they are no cause
_MOST_NAMES = 3  # of groups in a sentence
Pair = tuple[Artifact, Artifact]  # the file of the stage before, and the stage's own


def causes(
    size_ratio: float, macs_ratio: float, faster: Sequence[Faster], pairs: Sequence[Pair],
    channels: Sequence[Channels] = (),
) -> list[str]:  # fmt: skip
    """Return a sentence for each fact in the files that explains why the stage's model is not faster somewhere.

    Args:
        size_ratio, macs_ratio: before over after.
        faster: each place where both were timed; looked at are those where it is smaller but not faster, or slower.
        pairs: the files that were timed there.
        channels: the groups of which the stage removed some; such a model is looked at too where it is no smaller, but
            has less to compute.
    """
    less = size_ratio > SMALLER or (bool(channels) and macs_ratio > SMALLER)
    found: dict[str, list[str]] = {}  # sentence -> places
    for one in faster:
        if one.high < 1 or (less and one.low <= 1):
            before, after = next(pair for pair in pairs if pair[1].id == one.artifact)
            place = where(one.runtime, one.protocol)
            pair = before, after
            if is_open(one.low, one.high):
                known = _time(one, macs_ratio, pair) if channels else []
                if not known:
                    known, place = [_UNPROVEN], f"{place} ({ratio(one.value)}, 95 % {one.low:.2f} to {one.high:.2f})"
            else:
                known = from_the_files(*pair) + (_not_accelerated(*pair) if one.runtime == "litert" else [])
                known += _narrower(one, macs_ratio, pair, channels) if channels else []
            for sentence in known or [_none(before, after, macs_ratio)]:
                found.setdefault(sentence, []).append(place)
    return [f"{', '.join(places)}: {sentence}" for sentence, places in found.items()]


def is_open(low: float, high: float) -> bool:
    """Return whether a speed-up's 95 % interval proves nothing: it holds 1, and so much more that there may be one."""
    return low <= 1 and high >= _WIDE


def from_the_files(before: Artifact, after: Artifact) -> list[str]:
    """Return what is in the file `after`, and not in the one that it is compared with, that makes nothing faster."""
    sentences = [filled_up(after.batch)] if after.batch not in (None, 1, before.batch) else []
    graph = after.operators
    if graph is None:
        return sentences
    if after.precision == "float32" and (after.sparsity or 0) > (before.sparsity or 0) + 0.005:
        sentences.append(_zeros(after.sparsity or 0, graph))
    if after.precision == "float32" and after.clustered and not before.clustered:
        sentences.append(_clusters(after.clustered))
    if after.precision == "sparse-float32":
        sentences.append(
            f"{percent(after.sparsity or 0)} % zeros, stored sparsely: XNNPACK has sparse kernels for ARM, and for x86 "
            "without AVX alone, and takes them only for models that prune.policy xnnpack lets pass; elsewhere it "
            "unpacks the zeros and multiplies them"
        )
    if graph.fake_quant:
        sentences.append(f"{graph.fake_quant} fake-quant operations in the graph {IMITATED}")
    if after.precision == "int8" and graph.floating:
        kinds = ", ".join(f"{kind} x{count}" for kind, count in graph.floating_names.items())
        sentences.append(
            f"float fallback: {graph.floating} of {graph.floating + graph.integer} operators in the file compute in "
            f"float: {kinds}"
        )
    # in an .onnx the pairs around an operator are its notation, and work only where the runtime does not fuse them
    if after.format == "onnx" and after.precision == "int8":
        sentences.append(
            f"{graph.conversions} QuantizeLinear and DequantizeLinear stand around {graph.floating + graph.integer} "
            "operators that compute: what ONNX Runtime does not fuse with them it runs in float"
            + ("" if after.variant else "; it fuses more of what it quantizes itself (export.onnx: int8.ort)")
        )
    elif after.format == "onnx" and after.precision == "float16":
        sentences.append(
            "float16 makes the file smaller; nothing is faster where ONNX Runtime has no float16 kernels for the CPU "
            "and computes in float32, between casts that it adds"
        )
    elif after.format == "tflite" and after.precision == "float16":
        sentences.append("float16 makes the file smaller; XNNPACK makes float32 of the weights when it is loaded")
    elif graph.conversions >= graph.floating + graph.integer:
        sentences.append(
            f"{graph.conversions} operators only convert between float and integers, "
            f"{graph.floating + graph.integer} compute"
        )
    return sentences


def filled_up(batch: int | None) -> str:
    """Return what a fixed batch of more than one sample makes of a single one."""
    return f"a call takes {batch} samples, no more and no fewer: one alone is filled up, and takes as long as {batch}"


def _not_accelerated(before: Artifact, after: Artifact) -> list[str]:
    """Return which operators XNNPACK leaves to LiteRT's own kernels, where it left none of those before."""
    old, new = before.delegated(), after.delegated()
    if new is None:
        return []
    left = {kind: count for kind, count in new.left.items() if old is None or count > old.left.get(kind, 0)}
    if not left:
        return []
    kinds = ", ".join(f"{kind} x{count}" if count > 1 else kind for kind, count in left.items())
    said = f"XNNPACK computes {new.taken} of {new.operators} operators"
    said += f" ({old.taken} of {old.operators} before)" if old else ""
    said += f", and leaves to LiteRT's own kernels: {kinds}"
    graph = after.operators
    if after.precision == "int16x8":
        said += f"; {REFERENCE_KERNELS}"
    elif after.precision == "weight-int4":
        said += f"; {UNPACKED}"
    elif graph and graph.integer and 2 * new.taken > new.operators:  # what is left may be too little for a cause
        said += f"; for the others, {_KERNELS}"
    return [said]


def _zeros(sparsity: float, graph: Operators) -> str:
    if graph.zero_channels == 0:
        channels = f"none of the {graph.channels} output channels is all zero"
    else:
        only = "only " if graph.zero_channels < sparsity * graph.channels else ""
        channels = f"{only}{graph.zero_channels} of {graph.channels} output channels are all zero"
    return f"{percent(sparsity)} % zeros, but {channels}; {DENSE_KERNELS}"


def _clusters(found: Clustered) -> str:
    kernels = "1 kernel has" if found.kernels == 1 else f"{found.kernels} kernels have"
    return (
        f"{kernels} at most {found.distinct} distinct weights, but each weight is stored and multiplied for itself: "
        "that makes a file smaller only where it is compressed, and nothing faster"
    )


def _narrower(one: Faster, macs_ratio: float, pair: Pair, channels: Sequence[Channels]) -> list[str]:
    """Return why a model with fewer channels may not be faster: widths that fill no vector, and time without MACs."""
    sentences = []
    wide = [(group.name, *group.widths) for group in channels if group.layers]  # not so heads, which are inside of one
    odd = [(name, after) for name, before, after in wide if after % VECTOR and not before % VECTOR]
    if odd:
        names = ", ".join(f"{name} {after}" for name, after in odd[:_MOST_NAMES])
        more = f" and {len(odd) - _MOST_NAMES} more" if len(odd) > _MOST_NAMES else ""
        sentences.append(
            f"{len(odd)} of {len(wide)} groups have a width that is no multiple of {VECTOR} any more ({names}{more}): "
            f"kernels that compute {VECTOR} channels at once may take as long as for the next multiple"
        )
    return sentences + _time(one, macs_ratio, pair)


def _time(one: Faster, macs_ratio: float, pair: Pair) -> list[str]:
    """Return how little of the time can go with the MACs, where the interval proves that it is little."""
    if macs_ratio > SMALLER and one.high >= 1:  # a slower one shows that the rest did not stay as it was
        # Amdahl: of the time before, a share s goes with the MACs; the speed-up is 1 / (1 - s + s / macs_ratio)
        share = (1 - 1 / one.high) / (1 - 1 / macs_ratio)
        if share < _LITTLE:
            return [_time_without_macs(one, macs_ratio, share, pair)]
    return []


def _time_without_macs(one: Faster, macs_ratio: float, share: float, pair: Pair) -> str:
    least = "none" if share == 0 else f"at most {percent(share)} %"
    said = f"{ratio(macs_ratio)} fewer MACs and a speed-up of at most {one.high:.2f} (95 %): {least} of the time goes "
    said += "with the MACs, if all else takes as long as before"
    old, new = (item.operators for item in pair)
    if old and new:
        before, now = (graph.integer + graph.floating for graph in (old, new))
        said += f"; what does not go with them is, among others, the overhead of {now} operators ({before} before)"
        said += " and the request's way there and back" if one.protocol else ""
    return said


def _none(before: Artifact, after: Artifact, macs_ratio: float) -> str:
    if before.operators is None or after.operators is None:
        return "the files show no cause: what their graphs consist of is not known"
    same = "as many MACs as before" if 0.995 < macs_ratio < 1.005 else f"MACs before over after {ratio(macs_ratio)}"
    old, new = (graph.integer + graph.floating for graph in (before.operators, after.operators))
    if after.operators.floating or not after.operators.integer:
        return f"the files show no cause: {same}, {old} operators before and {new} now, in float"
    return (
        f"the files show no cause: {same}, {old} operators before and {new} now, all in integers; {_KERNELS}: no file "
        "shows that"
    )
