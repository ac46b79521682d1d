"""MobileNets: V1 of depthwise separable convolutions (Howard et al., 2017), V2 of inverted residuals with linear
bottlenecks and ReLU6 (Sandler et al., 2018).

Both halve the map five times, which suits images of 96 pixels and more. For smaller ones `reduction` takes strides
away, from the first layer on: the layers are the same, and work on larger maps.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from models import convolution, layers
from pipeline.errors import InputError
from pipeline.legacy_keras import load as load_keras

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.predictor import Spec

_HALVINGS = 5
_SMALLEST = 3  # side of the last map that `reduction: null` leaves, in pixels

_STEM = 32
# V1, table 1: channels and stride of each block
_SEPARABLE = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1),
)  # fmt: skip
# V2, table 2: expansion, channels, blocks and the first one's stride
_INVERTED = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
_LAST = 1280


class Config(convolution.WidthConfig):
    """A MobileNet for images, version 1 or 2."""

    architecture: Literal["mobilenet"] = "mobilenet"
    version: Literal[1, 2] = Field(
        default=2, description="1: depthwise separable convolutions; 2: inverted residuals, linear bottlenecks"
    )
    reduction: Literal[1, 2, 4, 8, 16, 32] | None = Field(
        default=None,
        description="how many times smaller the last map's sides are than the image's; less than 32 leaves out the "
        "strides of the first layers; null: 32 as in the papers, or for small images as much as leaves 3x3 pixels",
    )


def check(config: Config, input_shape: tuple[int, ...]) -> None:
    """Refuse inputs that are no images, and a reduction that leaves less than a pixel.

    Raises:
        InputError: with the largest reduction that is possible.
    """
    convolution.require_image(input_shape, "mobilenet")
    smallest = min(input_shape[:2])
    if config.reduction is not None and config.reduction > smallest:
        possible = 2 ** (smallest.bit_length() - 1)
        raise InputError(
            "model.reduction leaves less than a pixel of the image",
            expected=f"at most {possible} for images of {input_shape[0]}x{input_shape[1]} pixels",
            found=str(config.reduction),
            todo=f"set model.reduction to {possible} or less, or to null",
        )


def build(config: Config, spec: Spec, seed: int) -> Any:
    """Return the untrained model; see `models.build`."""
    seed_of = layers.seeds(seed)
    raw, x = layers.begin(spec)
    x = (_version_1 if config.version == 1 else _version_2)(x, config, _left_out(config, spec.input_shape), seed_of)
    x = convolution.average(x, config, seed_of)
    return layers.end(raw, x, config, spec, f"mobilenet_v{config.version}", seed_of)


def _left_out(config: Config, input_shape: tuple[int, ...]) -> int:
    """Return how many of the five halvings, from the first, are left out."""
    reduction = config.reduction
    if reduction is None:
        smallest = min(input_shape[:2])
        fitting = (2**power for power in range(_HALVINGS, 0, -1) if math.ceil(smallest / 2**power) >= _SMALLEST)
        reduction = next(fitting, 1)
    return _HALVINGS - int(math.log2(reduction or 1))


class _Strides:
    """Hands out strides, where the first few that would halve the map do not."""

    def __init__(self, left_out: int) -> None:
        self._left_out = left_out

    def of(self, stride: int) -> int:
        if stride > 1 and self._left_out:
            self._left_out -= 1
            return 1
        return stride


def _version_1(x: Any, config: Config, left_out: int, seed_of: Iterator[int]) -> Any:
    strides, width = _Strides(left_out), config.width_multiplier
    x = convolution.convolution(
        x, config, convolution.channels(_STEM, width), 3, "stem", seed_of, strides=strides.of(2)
    )
    for block, (filters, stride) in enumerate(_SEPARABLE, start=1):
        x = convolution.depthwise(x, config, f"block_{block}_depthwise", seed_of, strides=strides.of(stride))
        x = convolution.convolution(
            x, config, convolution.channels(filters, width), 1, f"block_{block}_pointwise", seed_of
        )
    return x


def _version_2(x: Any, config: Config, left_out: int, seed_of: Iterator[int]) -> Any:
    strides, width = _Strides(left_out), config.width_multiplier
    x = convolution.convolution(
        x, config, convolution.channels(_STEM, width), 3, "stem", seed_of, strides=strides.of(2), activation="relu6"
    )
    block = 0
    for expansion, filters, blocks, first in _INVERTED:
        for stride in (first, *(1,) * (blocks - 1)):
            block += 1
            x = _inverted(
                x, config, expansion, convolution.channels(filters, width), strides.of(stride), f"block_{block}",
                seed_of, may_add=stride == 1,
            )  # fmt: skip
    # a narrower network keeps the last layer's width, as the paper has it
    last = convolution.channels(_LAST, max(1.0, width))
    return convolution.convolution(x, config, last, 1, "last", seed_of, activation="relu6")


def _inverted(
    x: Any, config: Config, expansion: int, filters: int, strides: int, name: str, seed_of: Iterator[int],
    *, may_add: bool,
) -> Any:  # fmt: skip
    keras = load_keras()
    inside, incoming = x, int(x.shape[-1])
    if expansion > 1:
        inside = convolution.convolution(
            inside, config, expansion * incoming, 1, f"{name}_expand", seed_of, activation="relu6"
        )
    inside = convolution.depthwise(inside, config, f"{name}_depthwise", seed_of, strides=strides, activation="relu6")
    inside = convolution.convolution(inside, config, filters, 1, f"{name}_project", seed_of, activation="linear")
    if may_add and incoming == filters:
        return keras.layers.Add(name=f"{name}_add")([x, inside])
    return inside
