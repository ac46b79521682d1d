"""DS-CNN, a convolution and blocks of depthwise separable ones (Zhang et al., 2017, Hello Edge: keyword spotting on
microcontrollers); on any map of shape (height, width, channels), in the paper time by frequency by 1.

The paper's sizes: S is the default; M and L have 172 and 276 filters, `strides: [2, 1]`, `block_stride: 2`, and L
five blocks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from models import convolution, layers
from pipeline.errors import InputError

if TYPE_CHECKING:
    from pipeline.predictor import Spec

_KERNEL = (10, 4)

Positive = Annotated[int, Field(gt=0)]


class Config(layers.LayerConfig):
    """A depthwise separable network for maps: spectrograms of sounds, or images."""

    architecture: Literal["ds_cnn"] = "ds_cnn"
    filters: int = Field(default=64, gt=0, description="output channels of every convolution")
    blocks: int = Field(default=4, ge=1, description="depthwise separable convolutions, 3x3")
    kernel_size: tuple[Positive, Positive] | None = Field(
        default=None,
        description="sides of the first convolution's kernel, (height, width); null: (10, 4) as in the paper, or the "
        "map's where that is smaller",
    )
    strides: tuple[Positive, Positive] = Field(default=(2, 2), description="of the first convolution, (height, width)")
    block_stride: int = Field(default=1, gt=0, description="stride of the first block")


def check(config: Config, input_shape: tuple[int, ...]) -> None:
    """Refuse inputs that are no maps, and a first kernel that is larger than the map.

    Raises:
        InputError: with the largest kernel that is possible.
    """
    convolution.require_image(input_shape, "ds_cnn")
    height, width = input_shape[:2]
    if config.kernel_size is not None and (config.kernel_size[0] > height or config.kernel_size[1] > width):
        raise InputError(
            "model.kernel_size is larger than the map",
            expected=f"at most {height}x{width}, as the inputs are",
            found="{}x{}".format(*config.kernel_size),
            todo="lower model.kernel_size, or set it to null",
        )


def build(config: Config, spec: Spec, seed: int) -> Any:
    """Return the untrained model; see `models.build`."""
    seed_of = layers.seeds(seed)
    raw, x = layers.begin(spec)
    height, width = spec.input.shape[:2]
    kernel = config.kernel_size or (min(_KERNEL[0], height), min(_KERNEL[1], width))
    x = convolution.convolution(x, config, config.filters, kernel, "stem", seed_of, strides=config.strides)
    for block in range(1, config.blocks + 1):
        strides = config.block_stride if block == 1 else 1
        x = convolution.depthwise(x, config, f"block_{block}_depthwise", seed_of, strides=strides)
        x = convolution.convolution(x, config, config.filters, 1, f"block_{block}_pointwise", seed_of)
    x = convolution.average(x, config, seed_of)
    return layers.end(raw, x, config, spec, "ds_cnn", seed_of)
