"""The section `data.tfrecord`: what is in the records."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from pipeline.config import Frozen

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]


class Feature(Frozen):
    """One feature of each tf.train.Example, which becomes an input."""

    kind: Literal["float", "int", "image", "text", "raw"] = Field(
        description="float, int: a list of numbers; image: a JPEG, PNG, GIF or BMP; text: UTF-8; raw: the bytes of an "
        "array, little-endian"
    )
    shape: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        default=(), description="of one sample: [height, width, channels] of an image, which has to have that size"
    )
    feature: str | None = Field(default=None, min_length=1, description="its name in the record; null: the input's")
    dtype: Literal["uint8", "int16", "int32", "float32"] = Field(default="uint8", description="raw: of the array")

    @model_validator(mode="after")
    def _has_a_shape_as_its_kind_wants(self) -> Feature:
        if self.kind == "text" and self.shape:
            raise ValueError("a text has no shape: leave it out")
        if self.kind != "text" and not self.shape:
            raise ValueError(f"shape is missing: that of one sample, for example [28, 28, 1], of kind {self.kind}")
        if self.kind == "image" and (len(self.shape) != 3 or self.shape[2] not in (1, 3, 4)):
            raise ValueError("the shape of an image is [height, width, channels], with 1, 3 or 4 channels")
        return self

    @property
    def sample(self) -> tuple[int, ...]:
        """Shape of a sample in the model's input: images have channels."""
        return (*self.shape, 1) if len(self.shape) == 2 else self.shape

    @property
    def size(self) -> int:
        """Numbers of a sample."""
        return math.prod(self.shape)

    @property
    def stored(self) -> str:
        """The type that numbers are kept in."""
        return {"float": "float32", "int": "int64", "image": "uint8"}.get(self.kind, self.dtype)


class Config(Frozen):
    """Which features go into the model, and which is to be predicted."""

    features: dict[Name, Feature] = Field(min_length=1, description="name of an input -> what it is in a record")
    label: str | None = Field(
        default="label",
        description="feature with what is to be predicted: a class's number, its name in bytes, or numbers; null: none "
        "(reconstruction)",
    )
    validation: str | None = Field(default=None, min_length=1, description='files of that split, such as "*valid*"')
    test: str | None = Field(default=None, min_length=1, description='files of that split, such as "*test*"')
