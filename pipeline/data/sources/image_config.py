"""The recipe's section `data.image_folder`; apart from what reads images, which few recipes need."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipeline.config import Frozen

Color = Literal["rgb", "grayscale"]
Side = Annotated[int, Field(gt=0, le=8192)]


class Config(Frozen):
    """How images of any size and colour become samples of one shape."""

    size: tuple[Side, Side] | None = Field(
        default=None,
        description="[height, width]; null: that of the input of the model file (model.path), else that of the images, "
        "which are then all alike",
    )
    color: Color | None = Field(
        default=None,
        description="rgb or grayscale; null: that of the model file's input, else grayscale where no image has colours",
    )
    unreadable: Literal["refuse", "skip"] = Field(
        default="refuse", description="what becomes of images that cannot be decoded; both name them"
    )
