"""A recurrent network: SimpleRNN, LSTM (Hochreiter and Schmidhuber, 1997) or GRU (Cho et al., 2014) over a sequence.

It takes sequences (time, features). An image (height, width, channels) is read from its top: each row is a step of
width * channels features. The model does that itself, so that its input stays the data's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from models import layers
from pipeline.errors import InputError
from pipeline.legacy_keras import load as load_keras

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.predictor import Spec

_LAYERS = {"simple": "SimpleRNN", "lstm": "LSTM", "gru": "GRU"}


class RecurrentConfig(layers.LayerConfig):
    """Options of recurrent layers, and of what comes behind them."""

    cell: Literal["simple", "lstm", "gru"] = Field(default="lstm", description="kind of the recurrent layers")
    units: tuple[Annotated[int, Field(gt=0)], ...] = Field(
        (64,), min_length=1, description="units of the recurrent layers, one number a layer; of each direction"
    )
    bidirectional: bool = Field(
        default=False, description="read the sequence from both ends; such layers are not pruned"
    )
    dense: tuple[Annotated[int, Field(gt=0)], ...] = Field(default=(), description="units of hidden dense layers")
    initializer: layers.Initializer = Field(
        default="glorot_uniform", description="how kernels start; those from step to step start orthogonal"
    )
    batch_norm: bool = Field(
        default=True, description="batch normalization in hidden dense layers, before the activation"
    )


class Config(RecurrentConfig):
    """A recurrent network for sequences, and for images row by row."""

    architecture: Literal["rnn"] = "rnn"


def check(config: Config, input_shape: tuple[int, ...]) -> None:  # noqa: ARG001 - every architecture has the same face
    """Refuse inputs that are neither sequences nor images, and those without values.

    Raises:
        InputError: with the shapes that are possible.
    """
    if len(input_shape) not in (2, 3) or min(input_shape) < 1:
        raise InputError(
            "model.architecture 'rnn' takes sequences, or images row by row",
            expected="inputs of shape (time, features) or (height, width, channels)",
            found=f"inputs of shape {input_shape}",
            todo="set model.architecture to mlp, or store the samples as sequences",
        )


def build(config: Config, spec: Spec, seed: int) -> Any:
    """Return the untrained model; see `models.build`."""
    keras = load_keras()
    seed_of = layers.seeds(seed)
    raw, x = layers.begin(spec)
    if len(spec.input.shape) == 3:
        height, width, channels = spec.input.shape
        x = keras.layers.Reshape((height, width * channels), name="rows")(x)
    for place, units in enumerate(config.units, start=1):
        x = recurrent(x, config, units, place, seed_of, sequences=place < len(config.units))
    for place, units in enumerate(config.dense, start=1):
        x = layers.dense(x, config, units, place, seed_of)
    return layers.end(raw, x, config, spec, "rnn", seed_of)


def recurrent(x: Any, config: RecurrentConfig, units: int, place: int, seed: Iterator[int], *, sequences: bool) -> Any:
    """Recurrent layer, dropout; the layer's place is counted from 1.

    Args:
        sequences: it gives the states of all steps, and not the last one alone.
    """
    keras = load_keras()
    name = f"{config.cell}_{place}"

    def one(**options: Any) -> Any:
        started = layers.kernel(config, next(seed))
        return getattr(keras.layers, _LAYERS[config.cell])(
            units,
            return_sequences=sequences,
            recurrent_initializer=keras.initializers.Orthogonal(seed=next(seed)),
            recurrent_regularizer=started["kernel_regularizer"],
            **started,
            **options,
        )

    if config.bidirectional:
        # a layer each: a copy made by Bidirectional would start with the same weights
        backward = one(name=f"backward_{name}", go_backwards=True)
        x = keras.layers.Bidirectional(one(name=name), backward_layer=backward, name=f"both_{name}")(x)
    else:
        x = one(name=name)(x)
    if config.dropout:
        x = keras.layers.Dropout(config.dropout, seed=next(seed), name=f"{config.cell}_dropout_{place}")(x)
    return x
