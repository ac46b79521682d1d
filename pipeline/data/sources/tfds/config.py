"""The section `data.tfds`: which of the sets of tensorflow-datasets."""

from __future__ import annotations

from pydantic import Field

from pipeline.config import Frozen


class Config(Frozen):
    """A data set by its name, and which of its features and splits are taken."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9_]+(/[A-Za-z0-9_.-]+)?(:[0-9.]+)?$",
        description="name, name/config or name/config:version, such as mnist or imdb_reviews/plain_text:1.0.0",
    )
    data_dir: str | None = Field(
        default=None, min_length=1, description="folder of all sets; null: TFDS_DATA_DIR or ~/tensorflow_datasets"
    )
    input: str | None = Field(
        default=None, description="feature that goes into the model; null: the first of its supervised_keys"
    )
    label: str | None = Field(default=None, description="feature to predict; null: the last of its supervised_keys")
    train: str = Field(default="train", min_length=1, description="split to divide, such as train[:80%]")
    validation: str | None = Field(default=None, min_length=1, description="split that is kept; null: its own, if any")
    test: str | None = Field(default=None, min_length=1, description="split that is kept; null: its own, if any")
