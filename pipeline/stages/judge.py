"""judge: compares what was measured with the recipe's limits. Instant, always run, measures nothing.

A gate fails only when the whole 95 % interval misses the limit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from pipeline.config import Frozen
from pipeline.plan import Planned, final, float_twin, reference

if TYPE_CHECKING:
    from pipeline.report.document import Artifact, Gate
    from pipeline.report.edge import Edge, Failure


class Limits(Frozen):
    """Limits for one artifact; what is null is not judged."""

    max_accuracy_drop: float | None = Field(
        default=None,
        description="accuracy (or what data.metric says) lost against the reference, as a fraction: 0.01 is one point; "
        "of an error (mse, mae, log_loss) what it may rise, in its own unit",
    )
    min_parity: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="share of test samples on which it and its Keras model agree (top-1); of values R2 between both, "
        "which rounding keeps just below 1",
    )
    max_p99_ms: float | None = Field(
        default=None,
        gt=0,
        description="99th percentile of batch-1 latency; of a .tflite in LiteRT, also where it is served too",
    )
    min_size_ratio: float | None = Field(
        default=None, gt=0, description="gzipped bytes of the reference over this artifact's"
    )
    min_speedup: float | None = Field(
        default=None,
        gt=0,
        description="batch-1 latency of the float32 artifact in the same runtime over this one's; "
        "of a .tflite in LiteRT, also where it is served too",
    )


class Config(Frozen):
    """The limits that decide the verdict."""

    final: str | None = Field(
        default=None, description="id of the main result; null: the last int8 .tflite, else the last SavedModel"
    )
    gates: Limits = Field(
        default=Limits(),
        description="limits for the main result; with a section edge, max_accuracy_drop and min_parity are also for "
        "its file in TensorFlow Lite Micro, where `artifacts` names no others for it",
    )
    artifacts: dict[str, Limits] = Field(default={}, description="limits for other artifacts, by id")


def conflicts(config: Config, plan: tuple[Planned, ...], percentile: float) -> Iterator[str]:
    """Yield what the limits ask that the exported artifacts and the measurements cannot answer.

    Args:
        percentile: that the blocks of single queries are long enough for.
    """
    known = {item.id: item for item in plan}
    for key, name in [("judge.final", config.final), *(("judge.artifacts", name) for name in config.artifacts)]:
        if name is not None and name not in known:
            yield f"{key} names {name!r}, which is not exported; exported: {', '.join(known)}"
            return
    for name, limits in _limits(config, plan):
        item = known[name]
        if limits.max_p99_ms is not None and percentile < 0.99:
            yield f"max_p99_ms of {name} needs measure.latency.percentile of at least 0.99, but it is {percentile:g}"
        if limits.min_speedup is not None and float_twin(plan, item) in (None, item):
            yield (f"min_speedup of {name} needs another {item.format} artifact of precision float32 to compare with")


def _limits(config: Config, plan: tuple[Planned, ...]) -> Iterator[tuple[str, Limits]]:
    yield final(plan, config.final).id, config.gates
    yield from config.artifacts.items()


def limits_of(config: Config, plan: tuple[Planned, ...], name: str) -> Limits:
    """Return the limits that a recipe has for one of its artifacts."""
    return next((found for known, found in _limits(config, plan) if known == name), Limits())


def judge(artifacts: Sequence[Artifact], plan: tuple[Planned, ...], config: Config) -> list[Gate]:
    """Return every gate with its verdict.

    Args:
        artifacts: as measured, the reference among them.
        plan: what the recipe asked for.
        config: the limits.
    """
    from pipeline.gates import gate

    by_id = {artifact.id: artifact for artifact in artifacts}
    return [
        gate(rule, limit, by_id[name], reference(artifacts))
        for name, limits in _limits(config, plan)
        for rule, limit in limits.model_dump().items()
        if limit is not None
    ]


def on_device(artifacts: Sequence[Artifact], plan: tuple[Planned, ...], config: Config, edge: Edge) -> list[Gate]:
    """Return the gates on what a small device's file is worth in TensorFlow Lite Micro, each with its verdict.

    Where the recipe has limits for that file they hold for this runtime as for the others (`judge`); else what the main
    result may lose, and how far it may be from its Keras model, hold for it too: it is what the device answers with.
    """
    from pipeline.gates import QUALITY, gate

    if edge.micro is None or edge.artifact in dict(_limits(config, plan)):
        return []
    found = next(artifact for artifact in artifacts if artifact.id == edge.artifact)
    runs = [run for run in found.runs if run.runtime == "tflite-micro"]
    there = found.model_copy(update={"runs": runs, "error": found.error or (None if runs else edge.micro.error)})
    limits = config.gates.model_dump()
    return [
        gate(rule, limits[rule], there, reference(artifacts)) for rule in QUALITY if limits[rule] is not None
    ]  # fmt: skip


def verdict(artifacts: Sequence[Artifact], gates: Sequence[Gate], failures: Sequence[Failure] = ()) -> str:
    """Return "pass", "fail", "error" or "incomplete".

    A missed gate fails, and so does an artifact with an error that is not optional, and what a small device was to do
    and did not (`failures`). Where such an error is one of the moment, what could not be judged for it is an error
    instead: it says nothing against the model. Where there was no gate to miss, nothing is proven and the verdict is
    incomplete.
    """
    broken = [artifact.transient for artifact in artifacts if artifact.error and not artifact.optional]
    broken += [failure.transient for failure in failures]
    missed = [gate for gate in gates if not gate.passed and not (any(broken) and gate.value is None)]
    if missed or not all(broken):
        return "fail"
    if broken:
        return "error"
    return "pass" if gates else "incomplete"
