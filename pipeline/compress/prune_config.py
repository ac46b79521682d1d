"""The recipe's section `prune`: how much becomes zero, where and when."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.compress import xnnpack
from pipeline.compress.pattern_config import Block, NOfM, Structured, Unstructured
from pipeline.config import Frozen
from pipeline.fit.config import Compressing


class _Ramp(Frozen):
    begin_epoch: float = Field(default=0.0, ge=0, description="epochs before the first weights become zero")
    end_epoch: float | None = Field(
        default=None, gt=0, description="epochs after which the zeros stay where they are; null: two thirds of all"
    )
    frequency: int | None = Field(
        default=None, ge=1, description="steps between two choices of the zeros; null: about ten times an epoch"
    )


class Polynomial(_Ramp):
    """The share of zeros rises from the initial to the final one, fast at first (Zhu and Gupta, 2017)."""

    name: Literal["polynomial"] = "polynomial"
    initial_sparsity: float = Field(default=0.0, ge=0, lt=1, description="share of zeros at begin_epoch")
    power: float = Field(default=3.0, gt=0, description="exponent; 1 is a straight line")


class Constant(_Ramp):
    """The final share of zeros from begin_epoch on; which weights they are is chosen anew until end_epoch."""

    name: Literal["constant"] = "constant"


class Config(Compressing):
    """How much becomes zero, where and when."""

    final_sparsity: float = Field(
        default=0.8,
        gt=0,
        lt=1,
        description="share of zeros in each kernel at the end; with the pattern n-of-m it is zeros / of (or null)",
    )
    pattern: Annotated[Unstructured | NOfM | Block, Field(discriminator="name")] = Field(
        default=Unstructured(),
        description="where the zeros may stand, one of unstructured n-of-m block; layers that it does not fit stay "
        "dense",
    )
    policy: Literal["xnnpack"] | None = Field(
        default=None,
        description="xnnpack: only the 1x1 convolutions that XNNPACK can compute by sparse kernels, from a model that "
        "it can work through channel by channel (Elsen et al., 2020), to be exported as sparse-float32; null: all",
    )
    layers: dict[str, float | None] = Field(
        default={},
        description="targets of their own, by a layer's name or a pattern (conv_*): a share, or null to leave it dense",
    )
    pruning_schedule: Annotated[Polynomial | Constant, Field(discriminator="name")] = Field(
        default=Polynomial(), description="one of polynomial constant"
    )

    @model_validator(mode="after")
    def _pattern_fits(self) -> Config:
        if isinstance(self.pattern, NOfM):
            zeros, of, share = self.pattern.zeros, self.pattern.of, self.pattern.share
            asked: dict[str, float | None] = {"final_sparsity": self.final_sparsity}
            asked |= {f"layers.{name}": own for name, own in self.layers.items()}
            differing = {key: own for key, own in asked.items() if own and abs(own - share) > 1e-6}
            if differing:
                raise ValueError(
                    f"pattern n-of-m makes {zeros} of {of} weights zero, a share of {share:g}, but "
                    f"{'; '.join(f'{key} is {own:g}' for key, own in differing.items())}: "
                    f"set {' and '.join(f'prune.{key}={share:g}' for key in differing)}, or the pattern to block or to "
                    "unstructured, which is none (prune.pattern={name: unstructured})"
                )
        if self.policy == "xnnpack" and self.final_sparsity <= xnnpack.LEAST:
            raise ValueError(
                f"policy xnnpack wants a final_sparsity above two thirds, but has {self.final_sparsity:g}: with fewer "
                "zeros XNNPACK computes densely"
            )
        return self

    @model_validator(mode="after")
    def _possible(self) -> Config:
        wrong = {name: share for name, share in self.layers.items() if share is not None and not 0 < share < 1}
        if wrong:
            raise ValueError(f"layers wants shares between 0 and 1, or null, but has {wrong}")
        ramp = self.pruning_schedule
        end = self.end_epoch()
        if not ramp.begin_epoch < end <= self.epochs:
            raise ValueError(
                f"pruning_schedule must begin before it ends, within the epochs ({self.epochs}), but goes from "
                f"{ramp.begin_epoch:g} to {end:g}"
            )
        if isinstance(ramp, Polynomial) and ramp.initial_sparsity > self.final_sparsity:
            raise ValueError(
                f"pruning_schedule.initial_sparsity ({ramp.initial_sparsity:g}) is more than final_sparsity "
                f"({self.final_sparsity:g})"
            )
        return self

    def structured(self) -> Structured | None:
        """Return the pattern of the zeros; None where they may stand anywhere."""
        return None if isinstance(self.pattern, Unstructured) else self.pattern

    def end_epoch(self) -> float:
        """Return the number of epochs after which the zeros stay where they are."""
        end = self.pruning_schedule.end_epoch
        return self.epochs * 2 / 3 if end is None else end
