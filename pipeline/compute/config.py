"""What every training and fine-tuning stage computes on, as a type."""

from __future__ import annotations

from typing import Literal

from pipeline.compute.performance_config import Performance
from pipeline.config import Frozen

Accelerator = Literal["auto", "cpu", "gpu", "tpu"]
Strategy = Literal["auto", "one_device", "mirrored", "multi_worker", "tpu"]
MixedPrecision = Literal["off", "auto", "float16", "bfloat16"]


class Compute(Frozen):
    """The recipe's keys of the same names, together, as a stage gets them."""

    accelerator: Accelerator = "auto"
    strategy: Strategy = "auto"
    devices: int | None = None
    mixed_precision: MixedPrecision = "off"
    performance: Performance = Performance()
