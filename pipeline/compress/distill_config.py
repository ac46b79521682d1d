"""The recipe's section `distill`: a student, and how it is taught."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from models import ModelConfig
from pipeline.config import NEUTRAL
from pipeline.fit.config import FineTuning
from pipeline.fit.teach import TeachConfig
from pipeline.own_code.config import Builder


class Config(FineTuning):
    """A student, and how it is taught."""

    student: Annotated[ModelConfig | Builder, Field(discriminator="architecture")] = Field(
        description="the architecture of the student, as in the section model"
    )
    teach: TeachConfig = Field(default=TeachConfig(), description="what is learned of the teacher, and its weight")
    # what decides is their content: see `surroundings`
    teachers: Annotated[tuple[str, ...], NEUTRAL] = Field(
        default=(),
        description="more teachers, .keras or .h5 files; the softened answers of all are averaged, "
        "features and relations are those of the first model",
    )
    alone: bool = Field(
        default=True, description="train the same student without a teacher too, on the same budget, to compare"
    )
