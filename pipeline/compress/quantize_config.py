"""The recipe's section `quantize`: how the model learns to be int8."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from pipeline.fit.config import Compressing


class Config(Compressing):
    """How the model learns to be int8."""

    # int8 costs little to begin with, so that there is little to win back
    exclude_budget: float = Field(
        default=0.01,
        ge=0,
        description="exclude auto: what all layers that are not left out may cost together, each by itself, on the "
        "validation split, before any fine-tuning; 0.01 is one point",
    )
    freeze_ranges_epochs: int = Field(
        default=0, ge=0, description="last epochs in which the ranges of activations stay where they are"
    )
    float_layers: Literal["float32", "float16"] = Field(
        default="float32",
        description="how the int8 .tflite holds the weights of layers that stay float; float16: half as large, "
        "computed in float32",
    )

    @model_validator(mode="after")
    def _ranges_move_first(self) -> Config:
        if self.freeze_ranges_epochs >= self.epochs:
            raise ValueError(
                f"freeze_ranges_epochs must be less than epochs ({self.epochs}), but is {self.freeze_ranges_epochs}: "
                "the ranges would never follow the training"
            )
        return self
