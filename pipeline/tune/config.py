"""The recipe's section `tune`: which keys are tried in which values, how, and what is to get better."""

from __future__ import annotations

import json
import math
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from pipeline.config import Frozen

Objective = Literal["quality", "latency", "size"]
Runtime = Literal["litert", "onnxruntime", "tensorflow", "served"]


def text(value: Any) -> str:
    """Return a plain value in one line of JSON, which is YAML: what a --set takes and a study remembers."""
    return json.dumps(value, ensure_ascii=False)


class Range(Frozen):
    """Numbers from `low` to `high`, both included: whole ones where low, high and step are."""

    low: int | float = Field(description="the lowest value")
    high: int | float = Field(description="the highest value")
    step: int | float | None = Field(
        default=None, gt=0, description="distance of the values, from low on; null: any value"
    )
    log: bool = Field(default=False, description="equal ratios are equally likely, as for learning rates")

    @model_validator(mode="after")
    def _possible(self) -> Range:
        if not self.low < self.high:
            raise ValueError(f"low must be below high, but they are {self.low:g} and {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"log needs low above 0, but it is {self.low:g}")
        if self.log and self.step is not None:
            raise ValueError("log and step exclude each other: leave one of them out")
        if self.step is not None and self.step > self.high - self.low:
            raise ValueError(
                f"step ({self.step:g}) must be at most the distance of low and high ({self.high - self.low:g})"
            )
        return self

    @property
    def whole(self) -> bool:
        """Whether the values are integers."""
        return all(isinstance(one, int) for one in (self.low, self.high, self.step) if one is not None)

    def values(self) -> list[float] | None:
        """Return all values in rising order; None where there is no end of them."""
        step = self.step if self.step is not None else 1 if self.whole and not self.log else None
        if step is None:
            return None
        count = math.floor((self.high - self.low) / step + 1e-9) + 1
        # steps of 0.1 add up to 0.30000000000000004
        return [self.low + place * step if self.whole else round(self.low + place * step, 12) for place in range(count)]


def _kind(value: Any) -> str | None:
    if isinstance(value, (dict, Range)):
        return "Range"
    return "tuple[Any, ...]" if isinstance(value, (list, tuple)) else None


Choices = tuple[Any, ...]
# the tags are what pydantic calls these types where it chooses by itself: messages leave them out
Entry = Annotated[
    Annotated[Range, Tag("Range")] | Annotated[Choices, Tag("tuple[Any, ...]")],
    Discriminator(
        _kind,
        custom_error_type="space",
        custom_error_message="a list of choices, or a range such as {low: 1, high: 9}",
    ),
]


class Config(Frozen):
    """Which keys are tried in which values, how, and what is to get better."""

    space: dict[str, Entry] = Field(
        default={},
        description="key of the recipe, as in --set -> a list of choices, or {low, high} with step or log; empty: "
        "learning rates of the last stages, and how they listen to their teacher",
    )
    objectives: tuple[Objective, ...] = Field(
        default=("quality",),
        description="what is to get better: quality (data.metric, on the validation split), latency (p50 of one sample "
        "in ms), size (bytes after gzip); of several the Pareto trials are found",
    )
    runtime: Runtime | None = Field(
        default=None,
        description="latency and size are of the last artifact that runs in it; null: of the recipe's main result",
    )
    sampler: Literal["grid", "random", "tpe"] = Field(
        default="tpe",
        description="grid: every combination once; random; tpe: more often where trials were good (Bergstra 2011)",
    )
    pruner: Literal["none", "median", "hyperband"] = Field(
        default="none",
        description="stops a trial early, in the last stage that the space changes: median: where it is worse than the "
        "median of the trials at the same epoch; hyperband (Li et al. 2018); of one objective, quality",
    )
    trials: int = Field(default=20, ge=1, description="how many trials there are to be in the end; --trials says else")
    startup_trials: int = Field(
        default=5, ge=0, description="trials before tpe models the space, and before median stops one"
    )
    warmup_epochs: int = Field(default=2, ge=0, description="epochs after which a trial may be stopped at the earliest")

    @model_validator(mode="after")
    def _possible(self) -> Config:
        if not self.objectives or len(set(self.objectives)) != len(self.objectives):
            raise ValueError(f"objectives wants one or more, each once, but has {list(self.objectives)}")
        if self.pruner != "none" and self.objectives != ("quality",):
            raise ValueError(
                f"pruner {self.pruner} needs one objective, quality, but there are {', '.join(self.objectives)}: "
                "latency and size are known only when a trial has ended; set pruner: none"
            )
        if self.runtime is not None and self.objectives == ("quality",):
            raise ValueError(
                f"runtime ({self.runtime}) is that of latency and size, and objectives names neither: leave it out"
            )
        for key, entry in self.space.items():
            if isinstance(entry, Range):
                if self.sampler == "grid" and entry.values() is None:
                    raise ValueError(
                        f"space.{key}: a grid needs a step, or a list of choices, but the range has no end of values"
                    )
            elif not entry or len({text(one) for one in entry}) != len(entry):
                raise ValueError(f"space.{key} wants one or more choices, each once, but has {list(entry)}")
        return self
