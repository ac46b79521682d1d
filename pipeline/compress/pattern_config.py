"""Where in a kernel the zeros of pruning may stand, as a recipe says it."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, model_validator

from pipeline.config import Frozen


class Unstructured(Frozen):
    """The smallest weights become zero, wherever they stand (Zhu and Gupta, 2017)."""

    name: Literal["unstructured"] = "unstructured"


class NOfM(Frozen):
    """Of each so many weights along a kernel's inputs some are zero: 2 of 4 is what sparse tensor cores compute faster
    (Mishra et al., 2021)."""

    name: Literal["n-of-m"] = "n-of-m"
    zeros: int = Field(default=2, ge=1, description="zeros in each group")
    of: int = Field(default=4, ge=2, le=64, description="weights in a group, one after the other along the inputs")

    @model_validator(mode="after")
    def _some_stay(self) -> NOfM:
        if self.zeros >= self.of:
            raise ValueError(f"zeros must be fewer than of ({self.of}), but is {self.zeros}: nothing would be left")
        return self

    @classmethod
    def meant(cls, text: str) -> str:
        """Return how a recipe says what a label of reports says; empty for any other text."""
        found = re.fullmatch(r"(\d+):(\d+)", text)
        return f"{{name: n-of-m, zeros: {found[1]}, of: {found[2]}}}" if found else ""

    @property
    def share(self) -> float:
        """Share of zeros that the pattern makes, in (0, 1)."""
        return self.zeros / self.of


class Block(Frozen):
    """Blocks of weights become zero as a whole (Narang et al., 2017)."""

    name: Literal["block"] = "block"
    size: tuple[int, int] = Field(
        default=(1, 4), description="inputs and outputs of a block, in each place of a convolution's kernel"
    )
    pooling: Literal["average", "max"] = Field(
        default="average", description="by which magnitude of its weights a block is chosen"
    )

    @classmethod
    def meant(cls, text: str) -> str:
        """Return how a recipe says what a label of reports says; empty for any other text."""
        found = re.fullmatch(r"(\d+)x(\d+)", text)
        return f"{{name: block, size: [{found[1]}, {found[2]}]}}" if found else ""

    @model_validator(mode="after")
    def _are_blocks(self) -> Block:
        if min(self.size) < 1 or self.size == (1, 1):
            raise ValueError(f"size wants two numbers of 1 or more, not both 1, but is {list(self.size)}")
        return self


Pattern = Unstructured | NOfM | Block
Structured = NOfM | Block


def label(pattern: Structured) -> str:
    """Return a pattern's name in reports: "2:4" is 2 zeros in each 4 weights, "1x4" blocks of 1 input, 4 outputs."""
    return f"{pattern.zeros}:{pattern.of}" if isinstance(pattern, NOfM) else "{}x{}".format(*pattern.size)


def labelled(found: str) -> Structured:
    """Return the pattern that a label stands for; how blocks were chosen it does not say."""
    first, _, second = found.partition(":" if ":" in found else "x")
    if ":" in found:
        return NOfM(zeros=int(first), of=int(second))
    return Block(size=(int(first), int(second)))
