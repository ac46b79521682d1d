"""The recipe's section `shrink`: how much of a model may stay, and which of its channels go."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from pipeline.fit.config import Compressing
from pipeline.measuring.layer_times_config import LatencyTarget

# what may be the target -> what it is called
TARGETS = {"macs": "the MACs", "parameters": "the parameters", "latency": "the time by the table of layer times"}


class Config(Compressing):
    """How much of the model may stay, which channels go, and how the rest learns on. Exactly one target."""

    macs: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="target: share of the MACs that may stay; one of macs, parameters, latency",
    )
    parameters: float | None = Field(default=None, gt=0, lt=1, description="target: share of the parameters")
    latency: LatencyTarget | None = Field(
        default=None,
        description="target: share of the time in a runtime, by times of the layers that are measured once, at several "
        "widths, and stored",
    )
    importance: Literal["l1", "l2", "batch_norm", "taylor", "random"] = Field(
        default="l2",
        description="which channels go first: those with small weights (l1, l2), with a small scale in batch "
        "normalization, or whose removal changes the loss on the calibration split least (taylor); random is a control",
    )
    selection: Literal["global", "uniform"] = Field(
        default="global",
        description="global: the least important of all channels go; uniform: every group keeps the same share",
    )
    multiple: int | None = Field(
        default=8,
        ge=1,
        description="widths are multiples of this in layers of 16 channels or more, since others are seldom faster; "
        "null: any width",
    )
    min_share: float = Field(default=0.1, gt=0, lt=1, description="no group keeps less than this share of its channels")
    layers: dict[str, float | None] = Field(
        default={},
        description="by a layer's name or a pattern (stack_1_*): share of the channels that stays at least; null: all",
    )
    steps: int = Field(
        default=1, ge=1, description="rounds of removal and fine-tuning, which share the epochs; 1: all at once"
    )
    control: bool = Field(
        default=False,
        description="fine-tune the model that comes in once more with all its channels, on the same budget, so that "
        "what removal loses is told apart from what longer training gains",
    )

    @model_validator(mode="after")
    def _possible(self) -> Config:
        given = [name for name in TARGETS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"expected exactly one of {', '.join(TARGETS)}, found {' and '.join(given) or 'none'}; "
                + (
                    "leave the others out, or set them to null"
                    if given
                    else "for example macs: 0.5, to keep half of the MACs"
                )
            )
        wrong = {name: share for name, share in self.layers.items() if share is not None and not 0 < share < 1}
        if wrong:
            raise ValueError(f"layers wants shares between 0 and 1, or null, but has {wrong}")
        if self.steps > self.epochs:
            raise ValueError(f"steps ({self.steps}) must be at most epochs ({self.epochs}): each is fine-tuned for one")
        least = self.epochs // self.steps
        if self.schedule.warmup_epochs >= least:
            raise ValueError(
                f"schedule.warmup_epochs must be less than the epochs of a step ({least}), but is "
                f"{self.schedule.warmup_epochs:g}: the learning rate would never reach its peak"
            )
        if self.early_stopping and self.early_stopping.from_epoch > least:
            raise ValueError(
                f"early_stopping.from_epoch must be at most the epochs of a step ({least}), but is "
                f"{self.early_stopping.from_epoch}: no epoch would count"
            )
        return self

    @property
    def what(self) -> str:
        """Name of the target."""
        return next(name for name in TARGETS if getattr(self, name) is not None)

    @property
    def share(self) -> float:
        """How much may stay of it, in (0, 1)."""
        found = getattr(self, self.what)
        return found.share if isinstance(found, LatencyTarget) else float(found)

    @property
    def unit(self) -> str:
        """What the target is called."""
        return TARGETS[self.what]

    def rounds(self) -> list[tuple[float, int]]:
        """Return for each round the share that may stay, of what came in, and the epochs of its fine-tuning.

        The shares fall geometrically from 1, so that each round takes the same share of what the one before left.
        """
        each = self.epochs // self.steps
        shares = [self.share ** (place / self.steps) for place in range(1, self.steps)]
        return [*((share, each) for share in shares), (self.share, self.epochs - each * (self.steps - 1))]
