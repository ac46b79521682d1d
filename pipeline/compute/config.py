"""What every training and fine-tuning stage computes on, as a type."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator

from pipeline.compute.performance_config import Performance
from pipeline.config import NEUTRAL, Frozen

Accelerator = Literal["auto", "cpu", "gpu", "tpu"]
Strategy = Literal["auto", "one_device", "mirrored", "multi_worker", "tpu"]
BatchSizes = Literal["global", "per_replica"]
LearningRateScaling = Literal["none", "linear", "sqrt"]
MixedPrecision = Annotated[
    Literal["off", "auto", "float16", "bfloat16"],
    # YAML 1.1 takes an off without quotes for false
    BeforeValidator(lambda given: "off" if given is False else given),
]


class Compute(Frozen):
    """The recipe's keys of the same names, together, as a stage gets them.

    Attributes:
        store: where outcomes of trials of settings are kept and found; None: beside a fit's unfinished work.
        profile: folder that takes a TensorBoard profile of some steps; None: there is none. Neither is of the recipe.
    """

    accelerator: Accelerator = "auto"
    strategy: Strategy = "auto"
    devices: int | None = None
    batch_sizes: BatchSizes = "global"
    learning_rate_scaling: LearningRateScaling = "none"
    mixed_precision: MixedPrecision = "off"
    performance: Performance = Performance()
    store: Annotated[Path | None, NEUTRAL] = None
    profile: Annotated[Path | None, NEUTRAL] = None


def problems(compute: Compute) -> Iterator[str]:
    """Yield what the keys ask of each other and cannot have, whatever devices there are."""
    accelerator, strategy = compute.accelerator, compute.strategy
    if (strategy == "tpu") != (accelerator == "tpu") and "auto" not in (accelerator, strategy):
        yield f"accelerator is {accelerator}, but strategy {strategy}: a TPU has the strategy tpu, or auto"
    if strategy == "one_device" and (compute.devices or 1) > 1:
        yield f"devices is {compute.devices}, but strategy one_device: leave one of them out, or strategy: mirrored"
    if accelerator == "cpu" and strategy == "auto" and (compute.devices or 1) > 1:
        yield (
            f"devices is {compute.devices}, and the CPU is one device: strategy: mirrored cuts it into logical ones, "
            "which share its cores"
        )
    if compute.learning_rate_scaling != "none" and compute.batch_sizes == "global":
        yield (
            f"learning_rate_scaling is {compute.learning_rate_scaling}, but batch_sizes is global: a step is the same "
            "on any number of devices, so nothing is to be scaled; set batch_sizes: per_replica"
        )
    if compute.mixed_precision == "float16" and accelerator in ("cpu", "tpu"):
        yield f"mixed_precision float16 is for GPUs, and accelerator is {accelerator}: bfloat16, or auto"
    if compute.mixed_precision == "bfloat16" and accelerator == "gpu":
        yield "mixed_precision bfloat16 is for the CPU and TPUs, and accelerator is gpu: float16, or auto"
    if compute.mixed_precision != "off" and compute.performance.xla == "on":
        yield (
            f"mixed_precision is {compute.mixed_precision}, which rewrites the graph that XLA would compile: "
            "performance.xla: off, or mixed_precision: off"
        )
