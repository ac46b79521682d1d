"""A plain convolutional network: blocks of convolutions, each halved by max pooling or a stride, then dense layers.

The order is Conv2D, BatchNormalization, ReLU, each a layer of its own: quantization-aware training folds exactly this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from models import convolution, layers
from pipeline.errors import InputError
from pipeline.legacy_keras import load as load_keras

if TYPE_CHECKING:
    from pipeline.predictor import Spec


class Config(layers.LayerConfig):
    """A convolutional network for images."""

    architecture: Literal["cnn"] = "cnn"
    filters: tuple[Annotated[int, Field(gt=0)], ...] = Field(
        (32, 64), min_length=1, description="output channels, one number a block"
    )
    convolutions: int = Field(default=1, ge=1, description="convolutions in each block")
    kernel_size: int = Field(default=3, ge=1, description="side of the convolutions' kernels, in pixels")
    poolings: int | None = Field(
        default=None, ge=0, description="how many blocks, from the first, end in a halving; null: all"
    )
    halving: Literal["pooling", "stride"] = Field(
        default="pooling",
        description="how blocks are halved: 2x2 max pooling, or a stride of 2 in the block's last convolution, which "
        "has a quarter of the MACs then (fewer operators, smaller files)",
    )
    head: Literal["flatten", "average"] = Field(
        default="flatten", description="how the last block's map becomes a vector"
    )
    dense: tuple[Annotated[int, Field(gt=0)], ...] = Field(default=(), description="units of hidden dense layers")


def check(config: Config, input_shape: tuple[int, ...]) -> None:
    """Refuse inputs that are no images, and more halvings than their sides allow.

    Raises:
        InputError: with the number of poolings that is possible.
    """
    convolution.require_image(input_shape, "cnn")
    smallest = min(input_shape[:2])
    possible = smallest.bit_length() - 1
    wanted = _poolings(config)
    if config.poolings is not None and config.poolings > len(config.filters):
        raise InputError(
            "model.poolings is more than there are blocks",
            expected=f"at most {len(config.filters)}, the number of blocks in model.filters",
            found=f"{config.poolings} poolings",
            todo="lower model.poolings or add blocks to model.filters",
        )
    if wanted > possible:
        raise InputError(
            f"model.filters has too many blocks for the size of the images: each block's {config.halving} halves them",
            expected=f"at most {possible} poolings for images of {input_shape[0]}x{input_shape[1]} pixels",
            found=f"{wanted} poolings",
            todo=f"set model.poolings to {possible} or less, or take blocks out of model.filters",
        )


def build(config: Config, spec: Spec, seed: int) -> Any:
    """Return the untrained model; see `models.build`."""
    keras = load_keras()
    seed_of = layers.seeds(seed)
    raw, x = layers.begin(spec)
    place = 0
    for block, filters in enumerate(config.filters, start=1):
        halved = block <= _poolings(config)
        for one in range(1, config.convolutions + 1):
            place += 1
            strided = halved and config.halving == "stride" and one == config.convolutions
            x = keras.layers.Conv2D(
                filters,
                config.kernel_size,
                strides=2 if strided else 1,
                padding="same",
                activation=None if config.batch_norm else "relu",
                use_bias=not config.batch_norm,
                name=f"conv_{place}",
                **layers.kernel(config, next(seed_of)),
            )(x)
            if config.batch_norm:
                x = keras.layers.BatchNormalization(momentum=config.batch_norm_momentum, name=f"bn_{place}")(x)
                x = keras.layers.ReLU(name=f"relu_{place}")(x)
        if halved and config.halving == "pooling":
            x = keras.layers.MaxPooling2D(2, name=f"pool_{block}")(x)
    if config.head == "flatten":
        x = keras.layers.Flatten(name="flatten")(x)
    else:
        x = keras.layers.GlobalAveragePooling2D(name="average")(x)
    if config.dropout:
        x = keras.layers.Dropout(config.dropout, seed=next(seed_of), name="dropout_0")(x)
    for place, units in enumerate(config.dense, start=1):
        x = layers.dense(x, config, units, place, seed_of)
    return layers.end(raw, x, config, spec, "cnn", seed_of)


def _poolings(config: Config) -> int:
    return len(config.filters) if config.poolings is None else config.poolings
