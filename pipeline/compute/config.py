"""What every training and fine-tuning stage computes on, as a type."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pipeline.compute.performance_config import Performance
from pipeline.config import NEUTRAL, Frozen

Accelerator = Literal["auto", "cpu", "gpu", "tpu"]
Strategy = Literal["auto", "one_device", "mirrored", "multi_worker", "tpu"]
MixedPrecision = Literal["off", "auto", "float16", "bfloat16"]


class Compute(Frozen):
    """The recipe's keys of the same names, together, as a stage gets them.

    Attributes:
        store: where outcomes of trials of settings are kept and found; None: beside a fit's unfinished work.
        profile: folder that takes a TensorBoard profile of some steps; None: there is none. Neither is of the recipe.
    """

    accelerator: Accelerator = "auto"
    strategy: Strategy = "auto"
    devices: int | None = None
    mixed_precision: MixedPrecision = "off"
    performance: Performance = Performance()
    store: Annotated[Path | None, NEUTRAL] = None
    profile: Annotated[Path | None, NEUTRAL] = None
