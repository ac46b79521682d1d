"""What the convolutional architectures share: widths, a convolution with what follows it, and what they refuse.

The order is convolution, BatchNormalization, activation, each a layer of its own: quantization-aware training folds
exactly this. Without batch normalization the convolution has a bias and the activation follows it directly.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from models import layers
from pipeline.errors import InputError
from pipeline.legacy_keras import load as load_keras

if TYPE_CHECKING:
    from collections.abc import Iterator

Activation = Literal["relu", "relu6", "swish", "linear"]
Sides = int | tuple[int, int]


class WidthConfig(layers.LayerConfig):
    """Options that hold for every convolutional network whose channels the paper gives."""

    width_multiplier: float = Field(
        default=1.0, gt=0, description="scales the channels of every layer, which are then rounded to multiples of 8"
    )


def channels(count: int, multiplier: float) -> int:
    """Return the multiple of 8 nearest to count * multiplier, at least 8, that is at most a tenth less than it.

    As MobileNetV2 rounds (Sandler et al., 2018): kernels compute 8 channels at once, so that others cost as much.
    """
    wanted = count * multiplier
    nearest = max(8, 8 * math.floor(wanted / 8 + 0.5))
    return nearest if nearest >= 0.9 * wanted else nearest + 8


def require_image(input_shape: tuple[int, ...], architecture: str) -> None:
    """Refuse inputs that are not of shape (height, width, channels).

    Raises:
        InputError: with the architecture that takes them.
    """
    if len(input_shape) != 3:
        raise InputError(
            f"model.architecture '{architecture}' takes images",
            expected="inputs of shape (height, width, channels)",
            found=f"inputs of shape {input_shape}",
            todo="set model.architecture to mlp",
        )


def convolution(
    x: Any, config: layers.LayerConfig, filters: int, kernel_size: Sides, name: str, seed_of: Iterator[int],
    *, strides: Sides = 1, activation: Activation = "relu", explicit: bool = False,
) -> Any:  # fmt: skip
    """Conv2D `name`, BatchNormalization `name_bn`, `activate`; the map's sides are divided by the strides.

    Args:
        explicit: a ZeroPadding2D `name_pad` pads where there are strides; the sides of kernels are odd.
    """
    keras = load_keras()
    x, padding = _padded(x, kernel_size, strides, name) if explicit else (x, "same")
    x = keras.layers.Conv2D(
        filters, kernel_size, strides=strides, padding=padding, use_bias=not config.batch_norm, name=name,
        **layers.kernel(config, next(seed_of)),
    )(x)  # fmt: skip
    return _finish(x, config, name, activation)


def depthwise(
    x: Any, config: layers.LayerConfig, name: str, seed_of: Iterator[int], *, strides: int = 1,
    kernel_size: int = 3, activation: Activation = "relu", explicit: bool = False,
) -> Any:  # fmt: skip
    """DepthwiseConv2D `name`, BatchNormalization `name_bn`, `activate`; `explicit` as in `convolution`."""
    keras = load_keras()
    x, padding = _padded(x, kernel_size, strides, name) if explicit else (x, "same")
    options = layers.kernel(config, next(seed_of))
    start = options["kernel_initializer"]
    # each output sees one channel's numbers, but Keras takes a depthwise kernel's fan-in for those of all channels
    start = keras.initializers.VarianceScaling(start.scale, "fan_out", start.distribution, start.seed)
    x = keras.layers.DepthwiseConv2D(
        kernel_size, strides=strides, padding=padding, use_bias=not config.batch_norm, name=name,
        depthwise_initializer=start, depthwise_regularizer=options["kernel_regularizer"],
    )(x)  # fmt: skip
    return _finish(x, config, name, activation)


def _padded(x: Any, kernel_size: Sides, strides: Sides, name: str) -> tuple[Any, str]:
    """Return the map as the convolution is to get it, and that one's padding."""
    if strides in (1, (1, 1)):
        return x, "same"
    keras = load_keras()
    sides = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
    return keras.layers.ZeroPadding2D(tuple((side // 2, side // 2) for side in sides), name=f"{name}_pad")(x), "valid"


def average(x: Any, config: layers.LayerConfig, seed_of: Iterator[int]) -> Any:
    """GlobalAveragePooling2D, then dropout where the config has any."""
    keras = load_keras()
    x = keras.layers.GlobalAveragePooling2D(name="average")(x)
    if config.dropout:
        x = keras.layers.Dropout(config.dropout, seed=next(seed_of), name="dropout")(x)
    return x


def _finish(x: Any, config: layers.LayerConfig, name: str, activation: Activation) -> Any:
    keras = load_keras()
    if config.batch_norm:
        x = keras.layers.BatchNormalization(momentum=config.batch_norm_momentum, name=f"{name}_bn")(x)
    return activate(x, activation, name)


def activate(x: Any, activation: Activation, name: str) -> Any:
    """ReLU or ReLU6 `name_relu`, or swish `name_swish` (Ramachandran et al., 2017); linear is no layer."""
    keras = load_keras()
    match activation:
        case "linear":
            return x
        case "swish":
            return keras.layers.Activation("swish", name=f"{name}_swish")(x)
        case _:
            return keras.layers.ReLU(6.0 if activation == "relu6" else None, name=f"{name}_relu")(x)
