"""The recipe's section performance, as a type: settings of a fit's steps that change how fast they are."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipeline.config import Frozen


class Performance(Frozen):
    """How the steps of a fit are carried out."""

    xla: Literal["auto", "on", "off"] = Field(
        default="auto", description="compile the steps with XLA; auto: where it is measured to be faster"
    )
    steps_per_execution: Literal["auto"] | Annotated[int, Field(ge=1)] = Field(
        default="auto", description="steps that run without Python in between; auto: as many as are measured to be fast"
    )
