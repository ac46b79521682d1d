"""Residual networks of basic blocks (He et al., 2015): the thin ones for small images, and ResNet-18.

Depths 8, 20, 32 and 56 are section 4.2's networks for CIFAR-10: three stacks of 16, 32 and 64 channels with n blocks
each, depth 6n + 2; 8 is MLPerf Tiny's. Depth 18 is table 1's: four stacks of 64 to 512 channels with two blocks each.

Every stack but the first halves the map in its first block. The shortcut past that block is a projection, a 1x1
convolution with stride 2 and batch normalization (the paper's option B); all others are the identity. The paper's
CIFAR networks pad the missing channels with zeros instead (option A), which no standard layer does; the projections
add 1 % to their parameters and MACs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from models import convolution, layers
from pipeline.errors import InputError
from pipeline.legacy_keras import load as load_keras

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.predictor import Spec

# depth -> blocks in each stack, channels of the first stack
_STACKS = {8: ((1,) * 3, 16), 20: ((3,) * 3, 16), 32: ((5,) * 3, 16), 56: ((9,) * 3, 16), 18: ((2,) * 4, 64)}


class Config(convolution.WidthConfig):
    """A residual network for images: 8, 20, 32 and 56 layers for small ones, 18 for larger ones."""

    architecture: Literal["resnet"] = "resnet"
    depth: Literal[8, 20, 32, 56, 18] = Field(
        default=8, description="layers with weights: 8, 20, 32, 56 start at 16 channels, 18 at 64"
    )
    stem: Literal["small", "large"] | None = Field(
        default=None,
        description="what comes first: small, a 3x3 convolution; large, a 7x7 one with stride 2 and 3x3 max pooling, "
        "which make the map 4 times smaller; null: large for depth 18, else small",
    )


def check(config: Config, input_shape: tuple[int, ...]) -> None:
    """Refuse inputs that are no images, and images that are halved more often than they can be.

    Raises:
        InputError: with the side that is needed.
    """
    convolution.require_image(input_shape, "resnet")
    blocks, _ = _STACKS[config.depth]
    needed = 2 ** (len(blocks) - 1) * (4 if _large(config) else 1)
    if min(input_shape[:2]) < needed:
        raise InputError(
            f"a resnet of depth {config.depth} with a {'large' if _large(config) else 'small'} stem makes the map "
            f"{needed} times smaller",
            expected=f"images of at least {needed}x{needed} pixels",
            found=f"{input_shape[0]}x{input_shape[1]} pixels",
            todo="set model.stem to small" if _large(config) else "set model.architecture to mlp",
        )


def build(config: Config, spec: Spec, seed: int) -> Any:
    """Return the untrained model; see `models.build`."""
    keras = load_keras()
    seed_of = layers.seeds(seed)
    raw, x = layers.begin(spec)
    stacks, first = _STACKS[config.depth]
    filters = convolution.channels(first, config.width_multiplier)
    if _large(config):
        x = convolution.convolution(x, config, filters, 7, "stem", seed_of, strides=2)
        x = keras.layers.MaxPooling2D(3, strides=2, padding="same", name="stem_pool")(x)
    else:
        x = convolution.convolution(x, config, filters, 3, "stem", seed_of)
    for stack, blocks in enumerate(stacks, start=1):
        filters = convolution.channels(first * 2 ** (stack - 1), config.width_multiplier)
        for block in range(1, blocks + 1):
            halves = stack > 1 and block == 1
            x = _block(x, config, filters, f"stack_{stack}_block_{block}", seed_of, strides=2 if halves else 1)
    x = convolution.average(x, config, seed_of)
    return layers.end(raw, x, config, spec, f"resnet_{config.depth}", seed_of)


def _block(x: Any, config: Config, filters: int, name: str, seed_of: Iterator[int], *, strides: int) -> Any:
    keras = load_keras()
    branch = convolution.convolution(x, config, filters, 3, f"{name}_conv_1", seed_of, strides=strides)
    branch = convolution.convolution(branch, config, filters, 3, f"{name}_conv_2", seed_of, activation="linear")
    if strides > 1:
        x = convolution.convolution(
            x, config, filters, 1, f"{name}_shortcut", seed_of, strides=strides, activation="linear"
        )
    # a layer and not `+`: quantization-aware training knows it
    x = keras.layers.Add(name=f"{name}_add")([x, branch])
    return keras.layers.ReLU(name=f"{name}_relu")(x)


def _large(config: Config) -> bool:
    return config.stem == "large" or (config.stem is None and config.depth == 18)
