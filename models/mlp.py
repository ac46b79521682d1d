"""A multilayer perceptron: dense layers on the flattened input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from models import layers
from pipeline.errors import InputError
from pipeline.legacy_keras import load as load_keras

if TYPE_CHECKING:
    from pipeline.predictor import Spec


class Config(layers.LayerConfig):
    """A multilayer perceptron for inputs of any shape."""

    architecture: Literal["mlp"] = "mlp"
    dense: tuple[Annotated[int, Field(gt=0)], ...] = Field(default=(128,), description="units of hidden layers")


def check(config: Config, input_shape: tuple[int, ...]) -> None:  # noqa: ARG001 - every architecture has the same face
    """Refuse inputs without values.

    Raises:
        InputError: a dimension is 0, or there is none.
    """
    if not input_shape or min(input_shape) < 1:
        raise InputError(
            "model.architecture 'mlp' takes inputs of one or more dimensions",
            expected="a shape such as (30,) or (8, 8, 1)",
            found=f"inputs of shape {input_shape}",
            todo="check the data source",
        )


def build(config: Config, spec: Spec, seed: int) -> Any:
    """Return the untrained model; see `models.build`."""
    keras = load_keras()
    seed_of = layers.seeds(seed)
    raw, x = layers.begin(spec)
    if len(spec.input.shape) > 1:
        x = keras.layers.Flatten(name="flatten")(x)
    for place, units in enumerate(config.dense, start=1):
        x = layers.dense(x, config, units, place, seed_of)
    return layers.end(raw, x, config, spec, "mlp", seed_of)
