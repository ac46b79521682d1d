"""judge: compares what was measured with the recipe's limits. Instant, always run, measures nothing.

A gate fails only when the whole 95 % interval misses the limit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from pydantic import Field

from pipeline.config import Frozen
from pipeline.plan import Planned, final, float_twin
from pipeline.report.document import Artifact, Gate, Interval, Latency, Run

SINGLE_STREAM = "SingleStream"


class Limits(Frozen):
    """Limits for one artifact; what is null is not judged."""

    max_accuracy_drop: float | None = Field(
        default=None, ge=-1, le=1, description="accuracy lost against the reference, as a fraction: 0.01 is one point"
    )
    min_parity: float | None = Field(
        default=None, ge=0, le=1, description="share of test samples on which it and its Keras model agree (top-1)"
    )
    max_p99_ms: float | None = Field(default=None, gt=0, description="99th percentile of batch-1 latency")
    min_size_ratio: float | None = Field(
        default=None, gt=0, description="gzipped bytes of the reference over this artifact's"
    )
    min_speedup: float | None = Field(
        default=None, gt=0, description="batch-1 latency of the float32 artifact in the same runtime over this one's"
    )


class Config(Frozen):
    """The limits that decide the verdict."""

    final: str | None = Field(
        default=None, description="id of the main result; null: the last quantized .tflite, else the last SavedModel"
    )
    gates: Limits = Field(default=Limits(), description="limits for the main result")
    artifacts: dict[str, Limits] = Field(default={}, description="limits for other artifacts, by id")


def conflicts(config: Config, plan: tuple[Planned, ...]) -> Iterator[str]:
    """Yield what the limits ask that the exported artifacts cannot answer."""
    known = {item.id: item for item in plan}
    for key, name in [("judge.final", config.final), *(("judge.artifacts", name) for name in config.artifacts)]:
        if name is not None and name not in known:
            yield f"{key} names {name!r}, which is not exported; exported: {', '.join(known)}"
            return
    for name, limits in _limits(config, plan):
        item = known[name]
        if limits.min_speedup is not None and float_twin(plan, item) in (None, item):
            yield (
                f"min_speedup of {name} needs another artifact of precision float32 in {item.runtime} to compare with"
            )


def _limits(config: Config, plan: tuple[Planned, ...]) -> Iterator[tuple[str, Limits]]:
    yield final(plan, config.final).id, config.gates
    yield from config.artifacts.items()


@dataclass(frozen=True)
class _Rule:
    """How one limit is compared.

    Attributes:
        upper: whether the limit is the highest value allowed, else the lowest.
        find: the value in one run, or None where it was not measured.
        todo: what to try when it is missed.
    """

    upper: bool
    unit: str
    find: Callable[[Artifact, Run, Artifact], Interval | None]
    todo: str


def _latency(run: Run) -> Latency | None:
    return next((latency for latency in run.latency if latency.scenario == SINGLE_STREAM), None)


def _p99(_: Artifact, run: Run, __: Artifact) -> Interval | None:
    found = _latency(run)
    return Interval(value=found.p99_ms, low=found.p99_low, high=found.p99_high) if found else None


def _speedup(_: Artifact, run: Run, __: Artifact) -> Interval | None:
    found = _latency(run)
    faster = found.speedup if found else None
    return Interval(value=faster.value, low=faster.low, high=faster.high) if faster else None


def _parity(_: Artifact, run: Run, __: Artifact) -> Interval | None:
    found = run.parity
    return Interval(value=found.top1_agreement, low=found.top1_agreement_low, high=found.top1_agreement_high)


def _size_ratio(artifact: Artifact, _: Run, reference: Artifact) -> Interval | None:
    if not artifact.gzip_bytes or not reference.gzip_bytes:
        return None
    ratio = reference.gzip_bytes / artifact.gzip_bytes
    return Interval(value=ratio, low=ratio, high=ratio)


_RULES = {
    "max_accuracy_drop": _Rule(
        True, "", lambda _, run, __: run.metrics.get("accuracy_drop"),
        "more calibration samples (data.split.calibration), a precision that keeps more (float16, dynamic-int8), "
        "or a higher limit",
    ),
    "min_parity": _Rule(
        False, "", _parity, "a precision that keeps more (float16, dynamic-int8), more calibration samples, "
        "or a lower limit",
    ),
    "max_p99_ms": _Rule(
        True, " ms", _p99, "a smaller model, more measure.threads, a machine with less other work, or a higher limit"
    ),
    "min_size_ratio": _Rule(False, "", _size_ratio, "a smaller model, an int8 precision, or a lower limit"),
    "min_speedup": _Rule(
        False, "x", _speedup, "a precision with fast kernels in this runtime (int8 in LiteRT), a smaller model, "
        "or a lower limit",
    ),
}  # fmt: skip


def judge(artifacts: Sequence[Artifact], plan: tuple[Planned, ...], config: Config) -> list[Gate]:
    """Return every gate with its verdict.

    Args:
        artifacts: as measured, the reference among them.
        plan: what the recipe asked for.
        config: the limits.
    """
    by_id = {artifact.id: artifact for artifact in artifacts}
    reference = next(by_id[item.id] for item in plan if item.format == "saved_model")
    gates = []
    for name, limits in _limits(config, plan):
        for rule, limit in limits.model_dump().items():
            if limit is not None:
                gates.append(_gate(rule, limit, by_id[name], reference))
    return gates


def _gate(name: str, limit: float, artifact: Artifact, reference: Artifact) -> Gate:
    rule = _RULES[name]
    found = [value for run in artifact.runs if (value := rule.find(artifact, run, reference)) is not None]
    if not found:
        why = artifact.error or (f"the reference {reference.id} failed: {reference.error}" if reference.error else "")
        message = f"not measured{': ' if why else ''}{why}"
        return Gate(
            name=name, artifact=artifact.id, limit=limit, value=None, low=None, high=None, passed=False, message=message
        )
    # the worst run decides: every place where the artifact is served has to hold the limit
    worst = (max if rule.upper else min)(found, key=lambda interval: interval.value)
    missed = worst.low > limit if rule.upper else worst.high < limit
    invalid = name in ("max_p99_ms", "min_speedup") and not all(
        latency.valid for run in artifact.runs if (latency := _latency(run))
    )
    return Gate(
        name=name, artifact=artifact.id, limit=limit, value=worst.value, low=worst.low, high=worst.high,
        passed=not missed and not invalid, message=_message(rule, limit, worst, missed=missed, invalid=invalid),
    )  # fmt: skip


def _message(rule: _Rule, limit: float, found: Interval, *, missed: bool, invalid: bool) -> str:
    bound = "at most" if rule.upper else "at least"
    value = f"{found.value:.4g}{rule.unit}"
    if found.low != found.high:
        value += f" (95 % interval {found.low:.4g} to {found.high:.4g})"
    text = f"{value}, limit {bound} {limit:g}{rule.unit}"
    if missed:
        return f"{text}: the whole interval misses it; try {rule.todo}"
    if invalid:
        return f"{text}: but LoadGen calls the measurement INVALID; raise measure.latency.min_duration_ms"
    if (found.value > limit) if rule.upper else (found.value < limit):
        return f"{text}: within the interval, so not shown to be missed"
    return text


def verdict(artifacts: Sequence[Artifact], gates: Sequence[Gate]) -> str:
    """Return "pass" or "fail": a missed gate fails, and so does an artifact with an error that is not optional."""
    broken = any(artifact.error and not artifact.optional for artifact in artifacts)
    return "fail" if broken or not all(gate.passed for gate in gates) else "pass"
