"""Whether an image starts warm: the first request that a fresh container answers, against the p99 of the later ones."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pipeline.measuring.runtimes import Source
from pipeline.report.document import Artifact, Gate, Run
from pipeline.report.shipped import FirstRequest

if TYPE_CHECKING:
    from pipeline.predictor import Spec, Stored

NAME = "starts_warm"
LIMIT = 2.0  # times the p99
_TRIES = 3  # containers at most: one that is slow may have met a busy machine
_NO_NOISE = 10.0  # times the p99: what is slower is cold


def first(sources: Mapping[str, Source], spec: Spec, sample: Stored) -> float:
    """Return how long the first request of a fresh client takes, in ms; one source, and nobody has asked it before.

    The connection is made before the clock starts, by asking for the signature: what is timed is the model.

    Args:
        sample: raw values of one sample.
    """
    from pipeline.measuring import runtimes
    from pipeline.predictor import rows
    from serving.client import endpoint
    from serving.client.endpoint import Endpoint

    (source,) = sources.values()
    assert isinstance(source, Endpoint)
    given = rows(runtimes.as_taken(source, spec, sample), slice(1))
    client = endpoint.connect(source, spec)
    try:
        started = time.perf_counter()
        client.predict(given)
        return (time.perf_counter() - started) * 1e3
    finally:
        client.close()


def is_warm(found: FirstRequest) -> bool:
    """Return whether a first request was as fast as it has to be."""
    return found.ratio <= LIMIT


def is_known(found: FirstRequest) -> bool:
    """Return whether another container would change nothing: it is warm, it is cold, or enough were tried."""
    return is_warm(found) or found.ratio > _NO_NOISE or len(found.tries_ms) >= _TRIES


def unjudged(item: Artifact) -> Artifact:
    """Return what was measured of an image as an error of the moment, where no valid p99 is there to compare with."""
    invalid = [run for run in item.runs if (single := run.single_stream()) and not single.valid]
    if item.error or not invalid:
        return item
    said = "; ".join(f"{run.protocol}: {', '.join(problems(run))}" for run in invalid)
    text = f"the latency of single requests is INVALID, so no p99 says whether it starts warm: {said}"
    return item.model_copy(update={"error": text, "transient": True})


def problems(run: Run) -> Sequence[str]:
    """Return why the latency of single requests is not valid."""
    single = run.single_stream()
    return (single.problems if single else []) or ["a block was too short, or ended before it had its queries"]


def gate(item: Artifact, found: Sequence[FirstRequest]) -> Gate:
    """Return the gate of what was measured; without a first request it is missed."""
    artifact = item.id
    if item.error or not found:
        return Gate(
            name=NAME, artifact=artifact, limit=LIMIT, value=None, low=None, high=None, passed=False, upper=True,
            unit="x", message=f"not measured: {item.error or 'it has failed before'}",
        )  # fmt: skip
    worst = max(found, key=lambda one: one.ratio)
    fastest = min(worst.tries_ms)
    text = (
        f"first request over {worst.protocol} {fastest:.3g} ms, p99 of later ones {worst.p99_ms:.3g} ms: "
        f"{worst.ratio:.3g}x ({fastest / worst.p50_ms:.3g}x of their p50), limit at most {LIMIT:g}x"
    )
    todo = ""
    if not is_warm(worst):
        todo = "warm-up records in the SavedModel (assets.extra/tf_serving_warmup_requests), for the outputs asked for"
        text += f", in the fastest of {len(worst.tries_ms)} fresh containers; try {todo}"
    return Gate(
        name=NAME, artifact=artifact, limit=LIMIT, value=worst.ratio, low=worst.ratio, high=worst.ratio,
        passed=is_warm(worst), message=text, upper=True, unit="x", todo=todo,
    )  # fmt: skip
