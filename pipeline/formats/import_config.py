"""The recipe's section `model` where it names a file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipeline.config import NEUTRAL, Frozen


class Config(Frozen):
    """A model file of the user's: the reference, and with a section `train` the model that is fine-tuned."""

    architecture: Literal["file"] = "file"
    path: Annotated[str, NEUTRAL] = Field(
        min_length=1,
        description="a .keras or .h5 file of Keras 2 (tf_keras) or of Keras 3, which is translated; or a SavedModel "
        "folder",
    )
    allow_custom_code: bool = Field(
        default=False,
        description="true: Lambda layers and classes of the file's author are loaded, and their code runs on this "
        "machine with your rights; false: such a file is refused",
    )
