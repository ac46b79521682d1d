"""The recipe's section `sensitivity`: what is done to one layer at a time."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.config import Frozen

Share = Annotated[float, Field(gt=0, lt=1)]
Clusters = Annotated[int, Field(ge=2, le=256)]


class Config(Frozen):
    """What is done to one layer at a time, without fine-tuning; all losses are on the validation split."""

    techniques: tuple[Literal["shrink", "prune", "cluster", "quantize"], ...] | None = Field(
        default=None,
        min_length=1,
        description="of shrink prune cluster quantize; null: those that the recipe has a section of, all where it has "
        "none",
    )
    shrink: tuple[Share, ...] = Field(default=(0.75, 0.5), min_length=1, description="shares of channels that stay")
    prune: tuple[Share, ...] = Field(
        default=(0.5, 0.8, 0.9), min_length=1, description="shares of weights that are zero"
    )
    cluster: tuple[Clusters, ...] = Field(
        default=(16, 4), min_length=1, description="numbers of distinct weights in a kernel"
    )
    samples: int | None = Field(
        default=None, ge=10, description="of the validation split, drawn by the seed; null: all of it"
    )

    @model_validator(mode="after")
    def _once(self) -> Config:
        for name in ("techniques", "shrink", "prune", "cluster"):
            given = getattr(self, name) or ()
            if len(set(given)) != len(given):
                raise ValueError(f"{name} names something twice: {', '.join(map(str, given))}")
        return self
