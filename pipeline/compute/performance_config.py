"""The recipe's section performance, as a type: settings of a fit's steps that change how fast they are."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from pipeline.config import NEUTRAL, Frozen

# what a recipe may write instead of a section; YAML 1.1 reads a plain off as false
WORDS: dict[Any, dict[str, Any]] = {
    "auto": {},
    "off": {"xla": "off", "steps_per_execution": 1},
    False: {"xla": "off", "steps_per_execution": 1},
}


class Performance(Frozen):
    """How the steps of a fit are carried out. The word auto stands for the defaults, off for one plain step at a time.

    XLA rounds otherwise, so it decides which weights come out. The other keys change no bit of them.
    """

    xla: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="compile the steps with XLA; auto: where a trial on this model, data and machine finds it faster "
        "with the same loss",
    )
    steps_per_execution: Annotated[Literal["auto"] | Annotated[int, Field(ge=1)], NEUTRAL] = Field(
        default="auto",
        description="steps that run without Python in between; auto: as many as take a quarter of a second",
    )
    budget_s: Annotated[float, NEUTRAL] = Field(
        default=10.0,
        gt=0,
        description="seconds that a trial of settings may take; a fit that would take less than ten times that long is "
        "not worth one",
    )


def as_section(value: Any) -> Any:
    """Return the section that a word in its place stands for, with on and off as the words they were in YAML."""
    if isinstance(value, (str, bool)) and value in WORDS:
        return dict(WORDS[value])
    if isinstance(value, dict) and isinstance(value.get("xla"), bool):
        return {**value, "xla": "on" if value["xla"] else "off"}
    return value
