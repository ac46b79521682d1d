"""Ranges of activations by what all replicas of a model have seen, so that they are equal, and one device's.

TF-MOT lets each replica follow its own part of a batch, or takes the mean of their smallest values.
"""

from __future__ import annotations

from typing import Any

from pipeline.legacy_keras import load as load_keras


def replicas() -> int:
    """Return how many replicas a model has that is built now."""
    load_keras()
    import tensorflow as tf

    return int(tf.distribute.get_strategy().num_replicas_in_sync)


class SeenByAll:
    """A quantizer of TF-MOT's, of a whole tensor, whose range moves by the whole batch."""

    def __init__(self, quantizer: Any) -> None:
        self.quantizer = quantizer

    def __call__(self, inputs: Any, training: bool, weights: Any, **kwargs: Any) -> Any:
        import tensorflow as tf

        context = tf.distribute.get_replica_context()
        if not training or context is None:
            return self.quantizer(inputs, training, weights, **kwargs)
        # of the smallest and the largest it finds no other range than of all; an empty part says nothing
        ends = tf.stack([tf.reduce_min(inputs), tf.reduce_max(inputs)])
        every = tf.reshape(context.all_gather(ends[None], axis=0), [-1, 2])
        seen = tf.stack([tf.reduce_min(every[:, 0]), tf.reduce_max(every[:, 1])])
        with tf.control_dependencies([self.quantizer(seen, True, weights, **kwargs)]):
            inputs = tf.identity(inputs)
        return self.quantizer(inputs, False, weights, **kwargs)
