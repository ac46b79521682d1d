"""The recipe's section `measure`: how the exported files are measured."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pipeline.config import NEUTRAL, Frozen
from pipeline.measuring.latency_config import LatencyConfig


class Config(Frozen):
    """How the exported files are measured."""

    threads: int = Field(default=1, ge=1, le=256, description="threads of each runtime")
    batch_size: int = Field(default=256, ge=1, description="samples per call while accuracy is measured")
    resamples: int = Field(default=1000, ge=100, le=100_000, description="bootstrap resamples of each interval")
    latency: LatencyConfig = LatencyConfig()
    baseline: bool = Field(
        default=False,
        description="fit a simple model of scikit-learn's to the same training split and show it beside: TF-IDF and a "
        "linear SVM for texts, gradient boosting for rows of numbers, else logistic or ridge regression",
    )
    deadline_s: Annotated[float, NEUTRAL] = Field(
        default=1800,
        gt=0,
        description="longest time for one file's answers, and for one runtime's blocks",
    )
    memory_mb: Annotated[int | None, NEUTRAL] = Field(
        default=None,
        gt=0,
        description="most memory of the measuring process, in MiB; watching it costs some latency",
    )
