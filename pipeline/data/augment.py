"""Random changes of training images: shift, rotate, zoom, flip, crop, all in one affine resampling.

Chance enters as a table of uniform draws, one row a sample, so that what happens to a sample depends on nothing but
the seed, the epoch and the sample: not on batches, threads or the order in which they come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from pipeline.config import Frozen
from pipeline.errors import InputError

if TYPE_CHECKING:
    import numpy as np

DRAWS = 8  # columns: shift x, shift y, angle, zoom, flip horizontal, flip vertical, crop x, crop y


class AugmentConfig(Frozen):
    """What may happen to a training image; evaluation images are never changed."""

    shift_pixels: float = Field(default=0.0, ge=0, description="moved by up to this many pixels along each axis")
    rotate_degrees: float = Field(
        default=0.0, ge=0, le=180, description="turned about the centre by up to this, either way"
    )
    zoom: float = Field(
        default=0.0, ge=0, lt=1, description="magnified or reduced by up to this share; 0.1: 0.9 to 1.1 times"
    )
    flip: Literal["none", "horizontal", "vertical", "both"] = Field(
        default="none", description="mirrored with probability 1/2 (horizontal: left and right change places)"
    )
    crop_pixels: int = Field(
        default=0, ge=0, description="a window smaller by this, at a random place, is blown up to the whole image"
    )


def check(config: AugmentConfig, input_shape: tuple[int, ...]) -> None:
    """Refuse what cannot be done with inputs of this shape.

    Raises:
        InputError: the inputs are no images, or smaller than what is to be cut or moved away.
    """
    if len(input_shape) != 3:
        raise InputError(
            "data.augment changes images, and the inputs are none",
            expected="inputs of shape (height, width, channels)",
            found=f"inputs of shape {input_shape}",
            todo="remove data.augment",
        )
    smallest = min(input_shape[:2])
    for key in ("shift_pixels", "crop_pixels"):
        if getattr(config, key) >= smallest:
            raise InputError(
                f"data.augment.{key} leaves nothing of the image",
                expected=f"less than {smallest}, the shorter side",
                found=f"{getattr(config, key):g}",
                todo=f"lower data.augment.{key}",
            )


def transforms(draws: np.ndarray, config: AugmentConfig, height: int, width: int) -> np.ndarray:
    """Turn uniform draws into affine maps from the new image's pixels to the old one's.

    Args:
        draws: float [n, DRAWS], uniform in [0, 1).

    Returns:
        float32 [n, 8], rows (a0, a1, a2, b0, b1, b2, 0, 0): old x = a0 x + a1 y + a2, old y = b0 x + b1 y + b2.
    """
    import numpy as np

    both_ways = 2 * draws - 1
    angle = np.deg2rad(config.rotate_degrees) * both_ways[:, 2]
    scale = 1 / (1 + config.zoom * both_ways[:, 3])
    mirror_x = np.where((draws[:, 4] < 0.5) & (config.flip in ("horizontal", "both")), -1.0, 1.0)
    mirror_y = np.where((draws[:, 5] < 0.5) & (config.flip in ("vertical", "both")), -1.0, 1.0)
    scale_x = scale * mirror_x * (width - config.crop_pixels) / width
    scale_y = scale * mirror_y * (height - config.crop_pixels) / height
    a0, a1 = scale_x * np.cos(angle), -scale_y * np.sin(angle)
    b0, b1 = scale_x * np.sin(angle), scale_y * np.cos(angle)
    centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
    old_x = centre_x + config.shift_pixels * both_ways[:, 0] + config.crop_pixels / 2 * both_ways[:, 6]
    old_y = centre_y + config.shift_pixels * both_ways[:, 1] + config.crop_pixels / 2 * both_ways[:, 7]
    a2 = old_x - a0 * centre_x - a1 * centre_y
    b2 = old_y - b0 * centre_x - b1 * centre_y
    zero = np.zeros_like(angle)
    return np.stack([a0, a1, a2, b0, b1, b2, zero, zero], axis=1).astype(np.float32)


def apply(images: Any, maps: Any, background: float) -> Any:
    """Resample a batch with bilinear interpolation.

    Args:
        images: float32 tensor [n, height, width, channels].
        maps: float32 tensor [n, 8] from `transforms`.
        background: raw value of what comes in from outside the image.

    Returns:
        float32 tensor of the shape of `images`.
    """
    import tensorflow as tf

    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=maps,
        output_shape=tf.shape(images)[1:3],
        fill_value=background,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )
