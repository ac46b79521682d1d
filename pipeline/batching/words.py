"""What a search found, in sentences: the same in the file, on the terminal and in batching.json."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipeline.batching.document import Search, Trial
from pipeline.report.model import Interval

_EMBEDDED = (
    "found behind modelmill's embedded server, which is written in Python: TensorFlow Serving itself batches at other "
    "costs, so search again behind it (--set serving.target=docker) before you ship these for it"
)

_UNCERTAIN = "it is not certain that batching buys anything"
_POINT_ESTIMATE = (
    "the highest rates are point estimates: where at most 1 % of a block's requests were late or shed, however few it "
    "had; VALID is a block that makes 99 % sure, which is what `modelmill bench` searches for"
)


def title(found: Search) -> str:
    """Return what was looked for."""
    wanted = "as many requests as possible" if found.rate_per_s is None else f"{found.rate_per_s:g} requests/s"
    return f"batching of {found.model}: {wanted} with a p99 of at most {found.bound_ms:g} ms"


def verdict(found: Search) -> str:
    """Return what batching buys, in a sentence."""
    one = found.trial(found.finalist)
    bound = f"p99 <= {found.bound_ms:g} ms"
    if found.verdict == "found" and one is not None:
        if found.max_rate_ratio is None:
            return f"{one.name} meets {bound}{_at(found)}; without batching it is missed"
        return f"{one.name}: {_times(found.max_rate_ratio)} the rate of no batching under {bound}{_pairs(found)}"
    if found.verdict == "no gain":
        if found.max_rate_ratio is None and found.baseline.max_rate_per_s.value:
            return f"batching buys nothing: no parameters meet {bound}{_at(found)}, and no batching does"
        if found.max_rate_ratio is None:
            return f"{_UNCERTAIN}: {bound} is met in some searches and missed in others"
        lead = _UNCERTAIN if _open(found) else "batching buys nothing"
        return f"{lead}: {_times(found.max_rate_ratio)} the rate of no batching under {bound}{_pairs(found)}"
    return _missed(found, bound)


def _missed(found: Search, bound: str) -> str:
    nearest = max(found.trials, key=lambda one: one.max_rate_per_s.value)
    highest = nearest.max_rate_per_s.value
    if not highest:
        return f"nothing meets {bound} at any rate that was tried"
    at = f"; at {found.rate_per_s:g}/s {_latency(nearest)}" if found.rate_per_s else ""
    share = f", {highest / found.rate_per_s:.0%} of what was asked for" if found.rate_per_s else ""
    return f"nothing meets {bound}{_at(found)}: {nearest.name} comes nearest, up to {highest:.4g}/s{share}{at}"


def advice(found: Search) -> Iterator[str]:
    """Yield what would help, where nothing is written."""
    if found.verdict != "missed":
        if _open(found):
            yield "more --pairs, a longer --block or a machine with less other work would tell"
        elif found.verdict == "no gain":
            yield "serve it without batching; on few cores that is common, for a batch has no idle cores to fill"
        return
    nearest = max(found.trials, key=lambda one: one.max_rate_per_s.value)
    highest, single = nearest.max_rate_per_s.value, found.scaling_ms[min(found.scaling_ms)]
    if single > found.bound_ms:
        yield f"a bound above {single:.3g} ms: that is what a single request takes while nothing else is asked"
    if highest and found.rate_per_s:
        yield f"{-int(-found.rate_per_s // highest)} such servers side by side, or a rate below {highest:.4g}/s each"
    tail = nearest.pooled.p99_ms if nearest.pooled else None
    if tail is not None and tail.value > found.bound_ms:
        yield f"a bound above {tail.value:.3g} ms"
    yield "a faster model: shrink, distill or quantize it; more cores, or a GPU"


def notes(found: Search) -> Iterator[str]:
    """Yield what a reader should know of how it was found."""
    if found.target == "embedded":
        yield _EMBEDDED
    if found.client_limited:
        yield (
            "the client in Python was at its own limit (over 0.8 cores): the highest rates may be the client's, and "
            "what batching buys more than is shown"
        )
    yield _POINT_ESTIMATE
    one = found.trial(found.finalist) or found.baseline
    if one.pooled is not None and not one.pooled.proved:
        yield f"{one.pooled.requests} requests are too few to be 99 % sure of the p99 of {one.name}: a longer --block"
    if found.verdict == "found" and one.parameters is not None:
        yield f"with them the server refuses requests of more than {one.parameters.max_batch_size} samples"
        if left_out := found.warmup_left_out:
            yield cold(left_out, one.parameters.max_batch_size)
            yield (
                "`modelmill image --batching` leaves them out as well; a server of your own needs "
                "--enable_model_warmup=false, or a model that was exported with export.warmup.batches up to "
                f"{one.parameters.max_batch_size}"
            )
    if found.flags:
        yield f"found with the flags {' '.join(found.flags)}: the server that ships needs them too"
    yield from found.left_out


def cold(left_out: Sequence[int], most: int | None) -> str:
    """Return what it means for a model's warm-up requests that they have more samples than a batch may have."""
    sizes = " and ".join(map(str, left_out))
    return (
        f"the model's warm-up requests of {sizes} samples were left out: with max_batch_size {most} no server loads a "
        "version that has them"
    )


def measured(one: Trial) -> str:
    """Return what was measured of a candidate, in a line."""
    valid = f"VALID up to {one.max_valid_rate_per_s:.4g}/s" if one.max_valid_rate_per_s else "no block VALID"
    parts = [f"up to {interval(one.max_rate_per_s)}/s in {one.searches} searches ({valid})"]
    if one.pooled is not None:
        tail = "over the bound" if one.pooled.p99_ms is None else f"{interval(one.pooled.p99_ms)} ms"
        parts.append(
            f"p99 {tail}, {one.pooled.late_share:.2%} late or shed of {one.pooled.requests} requests in "
            f"{one.pooled.blocks} blocks"
        )
    return ", ".join(parts)


def interval(one: Interval) -> str:
    """Return a value with its 95 % interval, where it has one."""
    if one.low == one.high:
        return f"{one.value:.4g}"
    return f"{one.value:.4g} ({one.low:.4g} to {one.high:.4g})"


def _latency(one: Trial) -> str:
    if one.pooled is None:
        return "not measured"
    late = f"{one.pooled.late_share:.1%} late or shed"
    return late if one.pooled.p99_ms is None else f"a p99 of {one.pooled.p99_ms.value:.4g} ms, {late}"


def _open(found: Search) -> bool:
    """Return whether what batching buys may be something, but is within the measurement's noise."""
    if found.verdict != "no gain":
        return False
    ratio = found.max_rate_ratio
    return ratio.high > 1.05 if ratio is not None else not found.baseline.max_rate_per_s.value


def _times(ratio: Interval) -> str:
    return f"{ratio.value:.3g}x ({ratio.low:.3g} to {ratio.high:.3g})"


def _pairs(found: Search) -> str:
    return f", {found.pairs} pairs of searches in turns"


def _at(found: Search) -> str:
    return f" at {found.rate_per_s:g}/s" if found.rate_per_s else ""
