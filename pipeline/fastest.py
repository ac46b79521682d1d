"""What is fastest when served, by how much and why: arithmetic on what was measured, instant, always done anew.

All served artifacts took turns behind one server, so each is compared with the served float32 reference block by block.
Where a .tflite was timed in LiteRT too, the difference is what a request costs besides the model.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from pipeline.causes import from_the_files, is_open
from pipeline.report.document import Artifact, Fastest, Latency, ServedSpeed
from pipeline.report.words import PROTOCOLS, milliseconds, percent, ratio
from pipeline.students_t import geometric_mean, quantile

_LIKELY = 0.842  # standard errors: a difference that is as large as it seems is then proven in 80 % of all cases
_MOST_BLOCKS = 200  # more are not advised: the difference may be none


def fastest(artifacts: Sequence[Artifact], reference: str | None) -> Fastest | None:
    """Return every served artifact with its speed, fastest first; None where fewer than two were served.

    Args:
        artifacts: as measured.
        reference: id of the float32 SavedModel that everything is compared with.
    """
    basis = next((item for item in artifacts if item.id == reference), None)
    found = [
        (item, run, one) for item in artifacts for run in item.runs if run.protocol and (one := run.single_stream())
    ]
    if basis is None or len({item.id for item, *_ in found}) < 2:
        return None
    rows: list[ServedSpeed] = []
    said: list[str] = []
    results: dict[str, str] = {}
    proofs: list[str] = []
    for protocol in PROTOCOLS:
        there = sorted(
            ((item, one) for item, run, one in found if run.protocol == protocol), key=lambda it: it[1].p50_ms
        )
        if there:
            results[protocol] = _result(there, basis)
            said += _request(there, basis, protocol)
            proofs += _proof(there, protocol)
            rows += [_row(item, one, basis, protocol) for item, one in there]
    if proofs:
        said.append(
            f"to prove what only seems faster takes more measure.latency.blocks: {', '.join(proofs)}, if it is as fast "
            "as it seems and the blocks to come are like these"
        )
    said += [f"{item.id} is not served: {item.unserved.splitlines()[0]}" for item in artifacts if item.unserved]
    first = found[0][1]
    return Fastest(target=first.target, server=first.server or {}, against=basis.id, rows=rows, results=results,
                   said=said)  # fmt: skip


def _in_litert(item: Artifact) -> Latency | None:
    """Return how fast a .tflite is in this process, without a server."""
    return next((run.single_stream() for run in item.runs if run.runtime == "litert"), None)


def _row(item: Artifact, one: Latency, basis: Artifact, protocol: str) -> ServedSpeed:
    run = next(run for run in item.runs if run.protocol == protocol)
    many, alone = run.batched(), _in_litert(item)
    return ServedSpeed(
        artifact=item.id, protocol=run.protocol, p50_ms=one.p50_ms, p50_low=one.p50_low, p50_high=one.p50_high,
        p99_ms=one.p99_ms, throughput_per_s=many.throughput_per_s if many else None,
        batch=many.settings.get("batch") if many else None, valid=one.valid, speedup=one.speedup,
        model_ms=alone.p50_ms if alone else None, why=list(_why(item, one, basis)),
    )  # fmt: skip


def _besides(there: Sequence[tuple[Artifact, Latency]]) -> float | None:
    """Return the milliseconds of a request without its model, by the fastest file that was timed in LiteRT too.

    A server's interpreter has one thread, so one that had more beside it tells nothing.
    """
    timed = [
        (one, alone)
        for item, one in there
        for run in item.runs
        if run.runtime == "litert" and run.threads == 1 and (alone := run.single_stream()) and alone.valid and one.valid
    ]
    return max(0.0, timed[0][0].p50_ms - timed[0][1].p50_ms) if timed else None


def _result(there: Sequence[tuple[Artifact, Latency]], basis: Artifact) -> str:
    """Return which is fastest over a protocol and by how much; only what is proven is claimed."""
    quick = [pair for pair in there if _faster(pair[1])]
    best, one = (quick or there)[0]
    slow, faster = next((latency for item, latency in there if item.id == basis.id), None), one.speedup
    if best.id == basis.id:
        return f"nothing is faster than {basis.id}, with {milliseconds(one.p50_ms)} ms"
    if faster is None or slow is None:
        return f"{best.id} took least, {milliseconds(one.p50_ms)} ms"
    by = f"{ratio(faster.value)}, 95 % {faster.low:.2f} to {faster.high:.2f}"
    times = f"{milliseconds(one.p50_ms)} ms against {milliseconds(slow.p50_ms)} ms: {by}"
    if not (one.valid and faster.valid):
        return f"nothing is proven, the measurement is INVALID; {best.id} took {times}"
    if not quick:
        return f"nothing is proven faster than {basis.id}; {best.id} took least, {times}"
    tied = [item.id for item, other in there if item is not best and not _proven(one, other)]
    beside = f"; no difference to {', '.join(tied)} is proven" if tied else ""
    return f"{best.id} is proven faster than {basis.id}, {times}{beside}"


def _request(there: Sequence[tuple[Artifact, Latency]], basis: Artifact, protocol: str) -> Iterator[str]:
    """Yield how much of its time a request over a protocol takes besides the model."""
    besides = _besides(there)
    slow = next((latency for item, latency in there if item.id == basis.id), None)
    if besides is not None and slow is not None and 0 < besides < slow.p50_ms:
        yield (
            f"over {PROTOCOLS[protocol]}: a request costs about {milliseconds(besides)} ms besides the model, as the "
            f"fastest .tflite shows that was timed in LiteRT too; by this estimate no model with this input would be "
            f"more than about {ratio(slow.p50_ms / besides)} as fast as {basis.id} behind this server"
        )


def _proof(there: Sequence[tuple[Artifact, Latency]], protocol: str) -> Iterator[str]:
    """Yield how many blocks it takes to prove over a protocol what seems faster and is not proven, where that helps."""
    best, one = there[0]
    faster = one.speedup
    if faster is None or not (one.valid and faster.valid) or any(_faster(other) for _, other in there):
        return
    count = blocks_for(faster.value, faster.low, faster.high, faster.pairs)
    if count is not None:
        yield f"probably {count} (now {faster.pairs}) for {best.id} over {PROTOCOLS[protocol]}"


def blocks_for(value: float, low: float, high: float, pairs: int) -> int | None:
    """Return how many blocks would prove a speed-up in 80 % of all cases, were it what it seems; a multiple of 5.

    Args:
        value: the geometric mean of the blocks' ratios, with its 95 % interval.
        pairs: the blocks that it rests on, 2 or more.

    Returns:
        None where it seems no faster, or more blocks than anybody should be advised to would be needed.
    """
    seems = math.log(value)
    if pairs < 2 or seems <= 0:
        return None
    spread = math.log(high / low) / 2 / quantile(pairs - 1) * math.sqrt(pairs)  # of one block's ratio
    counts = range(5 * (pairs // 5 + 1), _MOST_BLOCKS + 1, 5)
    return next((n for n in counts if (quantile(n - 1) + _LIKELY) * spread / math.sqrt(n) <= seems), None)


def _faster(one: Latency) -> bool:
    """Return whether one is proven faster than the reference."""
    return one.valid and one.speedup is not None and one.speedup.valid and one.speedup.low > 1


def _proven(one: Latency, other: Latency) -> bool:
    """Return whether one is faster than another: the whole interval of the blocks' ratios says so."""
    pairs = list(zip(other.block_p50_ms, one.block_p50_ms, strict=False))
    return len(pairs) > 1 and geometric_mean([slow / fast for slow, fast in pairs])[1] > 1


def _why(item: Artifact, one: Latency, basis: Artifact) -> Iterator[str]:
    """Yield what explains the speed of a served artifact; every number is one of the facts."""
    faster, graph, alone = one.speedup, item.operators, _in_litert(item)
    if faster is None:
        return
    if not (one.valid and faster.valid):
        yield "the measurement is INVALID: nothing is proven"
        return
    unknown = is_open(faster.low, faster.high)  # then there is no difference to explain
    if item.format == "tflite" and graph and not unknown:
        yield (
            "LiteRT's kernels in one interpreter of one thread, without a TensorFlow session: "
            f"{graph.integer} operators in integers, {graph.floating} in float"
        )
    if alone:
        share = min(1.0, alone.p50_ms / one.p50_ms)
        yield (
            f"the model is {percent(share)} % of the request: {milliseconds(alone.p50_ms)} ms in LiteRT, and "
            f"{milliseconds(one.p50_ms)} ms with the way there and back"
        )
        if (inside := alone.speedup) and inside.valid:
            by = f"{ratio(inside.value)}, 95 % {inside.low:.2f} to {inside.high:.2f}"
            yield f"without a server, in LiteRT, its speed-up over {inside.against} is {by}"
    fewer = basis.macs / item.macs if basis.macs and item.macs else 1.0
    if fewer > 1.005 and item.format == "saved_model" and not unknown:
        yield f"{ratio(fewer)} fewer MACs than {basis.id}"
    if faster.low <= 1 and not unknown:
        yield from from_the_files(basis, item)
