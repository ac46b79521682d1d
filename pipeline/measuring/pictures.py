"""Test samples as small PNG files, for people; runs in the measuring process, where TensorFlow is."""

from __future__ import annotations

import numpy as np

LONGEST = 96  # pixels; larger images are made smaller, so that a page can hold some
_CHANNELS = (1, 3)  # grey and colour


def are_images(shape: tuple[int, ...]) -> bool:
    """Return whether samples of this shape are images: [height, width, 1 or 3]."""
    return len(shape) == 3 and shape[2] in _CHANNELS and min(shape[:2]) > 1


def png(samples: np.ndarray, value_range: tuple[float, float]) -> list[bytes]:
    """Return each image as a PNG, its longer side at most LONGEST pixels.

    Args:
        samples: float32 [n, height, width, 1 or 3], raw values; what is outside of the range is clipped.
        value_range: raw values of black and white.
    """
    import tensorflow as tf

    low, high = value_range
    scaled = tf.clip_by_value((samples - low) / (high - low), 0.0, 1.0)
    if max(samples.shape[1:3]) > LONGEST:
        scaled = tf.image.resize(scaled, (LONGEST, LONGEST), method="area", preserve_aspect_ratio=True)
    pixels = tf.cast(tf.round(scaled * 255), tf.uint8)
    return [tf.io.encode_png(image).numpy() for image in pixels]
