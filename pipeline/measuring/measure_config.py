"""The recipe's section `measure`: how the exported files are measured."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from pipeline.config import NEUTRAL, Frozen
from pipeline.measuring.latency_config import LatencyConfig


class Config(Frozen):
    """How the exported files are measured."""

    threads: int = Field(default=1, ge=1, le=256, description="threads of each runtime")
    also_threads: tuple[Annotated[int, Field(ge=1, le=256)], ...] = Field(
        default=(),
        description="other numbers of threads with which each .tflite and .onnx is measured, too; limits and what is "
        "compared rest on `threads`",
    )
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

    @model_validator(mode="after")
    def _check_threads(self) -> Self:
        every = (self.threads, *self.also_threads)
        if len(set(every)) < len(every):
            raise ValueError(
                f"also_threads is {list(self.also_threads)}, but it holds each number once, and not {self.threads}, "
                "which threads is"
            )
        return self
