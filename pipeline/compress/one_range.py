"""One range for all weights of a kernel, in the form of a range per output channel.

A kernel that is clustered as a whole has few distinct integers only if all its channels have one scale. With a single
range TensorFlow's converter leaves a convolution before a batch normalization float: it cannot give the channels the
scales that they then need. With equal ranges per channel it changes the scales, and leaves the integers as they are.
"""

from __future__ import annotations

from typing import Any


class OneRange:
    """A quantizer of TF-MOT's whose ranges are all as wide as the widest has to be; symmetric, as those of weights."""

    def __init__(self, quantizer: Any) -> None:
        self._quantizer = quantizer

    def __call__(self, inputs: Any, training: bool, weights: Any, **kwargs: Any) -> Any:
        import tensorflow as tf

        if training:
            largest = tf.reduce_max(tf.abs(inputs))
            with tf.control_dependencies(
                [
                    weights["min_var"].assign(tf.fill(weights["min_var"].shape, -largest)),
                    weights["max_var"].assign(tf.fill(weights["max_var"].shape, largest)),
                ]
            ):
                inputs = tf.identity(inputs)
        return self._quantizer(inputs, False, weights, **kwargs)
