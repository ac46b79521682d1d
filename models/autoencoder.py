"""An autoencoder: dense layers down to a code and up again to the sample (Hinton and Salakhutdinov, 2006).

Trained on ordinary samples it gives those back well and others badly, so the difference tells anomalies.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from models import layers
from pipeline.errors import InputError
from pipeline.legacy_keras import load as load_keras

if TYPE_CHECKING:
    from pipeline.predictor import Spec


class Config(layers.LayerConfig):
    """An autoencoder for inputs of any shape; data.task is reconstruction or anomaly."""

    architecture: Literal["autoencoder"] = "autoencoder"
    dense: tuple[Annotated[int, Field(gt=0)], ...] = Field(
        default=(64, 32), description="units of the encoder's hidden layers; the decoder has them the other way round"
    )
    code: int = Field(default=8, gt=0, description="units of the code between encoder and decoder")


def check(config: Config, input_shape: tuple[int, ...]) -> None:
    """Refuse a code that could hold the whole sample.

    Raises:
        InputError: with the size that a code must stay below.
    """
    values = math.prod(input_shape)
    if config.code >= values:
        raise InputError(
            "model.code is as large as the sample, so there is nothing to learn",
            expected=f"less than {values}, the number of values in a sample", found=str(config.code),
            todo="lower model.code",
        )  # fmt: skip


def build(config: Config, spec: Spec, seed: int) -> Any:
    """Return the untrained model: raw values in, the sample scaled to [0, 1] out; see `models.build`."""
    keras = load_keras()
    seed_of = layers.seeds(seed)
    raw, x = layers.begin(spec)
    if len(spec.input.shape) > 1:
        x = keras.layers.Flatten(name="flatten")(x)
    for place, units in enumerate((*config.dense, config.code, *reversed(config.dense)), start=1):
        x = layers.dense(x, config, units, place, seed_of)
    values = keras.layers.Dense(math.prod(spec.input.shape), name="values", **layers.kernel(config, next(seed_of)))(x)
    if len(spec.input.shape) > 1:
        values = keras.layers.Reshape(spec.input.shape, name=spec.head.end)(values)
    return keras.Model(raw, values, name="autoencoder")
