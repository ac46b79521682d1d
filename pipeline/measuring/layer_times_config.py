"""The runtime that widths are chosen for, as a part of the recipe; without numpy, so that a recipe is checked fast."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from pipeline.config import Frozen


class TimedIn(Frozen):
    """Where layers are timed: what decides their times, besides the machine."""

    runtime: Literal["litert", "onnxruntime", "tensorflow"] = Field(
        default="litert", description="the runtime whose time counts: one of litert onnxruntime tensorflow"
    )
    precision: Literal["float32", "int8"] = Field(
        default="float32", description="of the weights and activations while they are timed; int8 needs litert"
    )
    threads: int = Field(default=1, ge=1, le=256, description="threads of the runtime")

    @model_validator(mode="after")
    def _possible(self) -> TimedIn:
        if self.precision == "int8" and self.runtime != "litert":
            raise ValueError(f"precision int8 needs the runtime litert, but runtime is {self.runtime}")
        return self


class LatencyTarget(TimedIn):
    """A share of the time that the incoming model takes in a runtime, by measured times of its layers."""

    share: float = Field(gt=0, lt=1, description="share of the time that may stay")
