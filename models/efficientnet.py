"""EfficientNets of inverted residuals with squeeze-and-excitation (Tan and Le, 2019), B0 to B3: each deeper, wider and
for larger images than the one before.

`activation: relu6` and `squeeze_excite: false` are what the authors' EfficientNet-Lite changes for devices. The paper's
stochastic depth is left out. `reduction` and `blocks` are as in mobilenet.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import Field, model_validator

from models import convolution, layers, strides
from pipeline.legacy_keras import load as load_keras

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.predictor import Spec

# section 5 and the authors' code: what scales the channels, and what the blocks of each stage
_VARIANTS = {"b0": (1.0, 1.0), "b1": (1.0, 1.1), "b2": (1.1, 1.2), "b3": (1.2, 1.4)}
_STEM, _LAST = 32, 1280  # channels
# table 1: kernel size, expansion, channels, blocks and the first one's stride of each stage
_TABLE_1 = (
    (3, 1, 16, 1, 1), (3, 6, 24, 2, 2), (5, 6, 40, 2, 2), (3, 6, 80, 3, 2), (5, 6, 112, 3, 1), (5, 6, 192, 4, 2),
    (3, 6, 320, 1, 1),
)  # fmt: skip
_SQUEEZE = 0.25  # of the channels that come to a block


class _Block(NamedTuple):
    kernel_size: int
    expansion: int
    filters: int
    stride: int


class Config(convolution.WidthConfig):
    """An EfficientNet for images, B0 to B3."""

    architecture: Literal["efficientnet"] = "efficientnet"
    variant: Literal["b0", "b1", "b2", "b3"] = Field(
        default="b0", description="width and depth; the paper's images have 224, 240, 260 and 300 pixels a side"
    )
    activation: Literal["swish", "relu6"] = Field(
        default="swish", description="swish as in the paper, or relu6, which loses less in int8"
    )
    squeeze_excite: bool = Field(default=True, description="weigh each block's channels by what is in the whole map")
    blocks: int | None = Field(
        default=None, ge=1, description="only the first so many blocks; null: all: 16, 23, 23 or 26"
    )
    reduction: strides.Reduction | None = Field(default=None, description=strides.REDUCTION)

    @model_validator(mode="after")
    def _blocks_are_there(self) -> Config:
        most = len(_blocks(self.variant))
        if self.blocks is not None and self.blocks > most:
            raise ValueError(f"blocks is {self.blocks}, but {self.variant} has {most}")
        return self


def check(config: Config, input_shape: tuple[int, ...]) -> None:
    """Refuse inputs that are no images, and a reduction that the layers or the image do not allow.

    Raises:
        InputError: with the largest reduction that is possible.
    """
    convolution.require_image(input_shape, "efficientnet")
    strides.check(config.reduction, _paper_strides(config), input_shape, "efficientnet")


def build(config: Config, spec: Spec, seed: int) -> Any:
    """Return the untrained model; see `models.build`."""
    seed_of = layers.seeds(seed)
    raw, x = layers.begin(spec)
    width = config.width_multiplier * _VARIANTS[config.variant][0]
    first, *steps = strides.reduced(config.reduction, _paper_strides(config), spec.input.shape)
    stem = convolution.channels(_STEM, width)
    x = convolution.convolution(x, config, stem, 3, "stem", seed_of, strides=first, activation=config.activation)
    for place, (block, stride) in enumerate(zip(_blocks(config.variant), steps, strict=False), start=1):
        filters = convolution.channels(block.filters, width)
        x = _inverted(x, config, block._replace(filters=filters, stride=stride), f"block_{place}", seed_of)
    last = convolution.channels(_LAST, width)
    x = convolution.convolution(x, config, last, 1, "last", seed_of, activation=config.activation)
    x = convolution.average(x, config, seed_of)
    return layers.end(raw, x, config, spec, f"efficientnet_{config.variant}", seed_of)


def _blocks(variant: str) -> list[_Block]:
    """Return all blocks with the channels of B0."""
    _, depth = _VARIANTS[variant]
    return [
        _Block(kernel_size, expansion, filters, stride if place == 0 else 1)
        for kernel_size, expansion, filters, count, stride in _TABLE_1
        for place in range(math.ceil(count * depth))
    ]


def _paper_strides(config: Config) -> list[int]:
    """Return the strides of the first convolution and of the blocks, as the paper has them."""
    return [2, *(block.stride for block in _blocks(config.variant)[: config.blocks])]


def _inverted(x: Any, config: Config, block: _Block, name: str, seed_of: Iterator[int]) -> Any:
    keras = load_keras()
    inside, incoming, activation = x, int(x.shape[-1]), config.activation
    if block.expansion > 1:
        wide = block.expansion * incoming
        inside = convolution.convolution(inside, config, wide, 1, f"{name}_expand", seed_of, activation=activation)
    inside = convolution.depthwise(
        inside, config, f"{name}_depthwise", seed_of, strides=block.stride, kernel_size=block.kernel_size,
        activation=activation,
    )  # fmt: skip
    if config.squeeze_excite:
        inside = _excited(inside, config, max(1, int(_SQUEEZE * incoming)), name, seed_of)
    inside = convolution.convolution(inside, config, block.filters, 1, f"{name}_project", seed_of, activation="linear")
    if block.stride == 1 and incoming == block.filters:
        return keras.layers.Add(name=f"{name}_add")([x, inside])
    return inside


def _excited(x: Any, config: Config, squeezed: int, name: str, seed_of: Iterator[int]) -> Any:
    """Multiply each channel by a number in [0, 1] made of all channels' averages (Hu et al., 2018)."""
    keras = load_keras()
    channels = int(x.shape[-1])
    gate = keras.layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_squeeze")(x)
    gate = keras.layers.Conv2D(squeezed, 1, name=f"{name}_reduce", **layers.kernel(config, next(seed_of)))(gate)
    gate = convolution.activate(gate, config.activation, f"{name}_reduce")
    gate = keras.layers.Conv2D(channels, 1, name=f"{name}_restore", **layers.kernel(config, next(seed_of)))(gate)
    gate = keras.layers.Activation("sigmoid", name=f"{name}_sigmoid")(gate)
    return keras.layers.Multiply(name=f"{name}_excite")([x, gate])
