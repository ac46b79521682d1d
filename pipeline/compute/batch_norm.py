"""Batch normalization with the statistics of the whole batch, of which each replica of a model has a part.

Keras' `synchronized` layers divide the sum of squared deviations by n for their moving variance, its usual ones behind
convolutions by n - 1: a model of these would come out differently than on one device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from pipeline.legacy_keras import load as load_keras

# whether a replica's part counts, 1 or 0; None: all do
_counts: ContextVar[Any] = ContextVar("counts", default=None)


@contextmanager
def counting(one: Any) -> Iterator[None]:
    """Let the part of this replica count in statistics only where `one` is 1, and not where it is 0."""
    token = _counts.set(one)
    try:
        yield
    finally:
        _counts.reset(token)


@contextmanager
def synchronized(model: Any) -> Iterator[None]:
    """Let the batch normalizations of a model see the samples of all replicas inside the block."""
    keras = load_keras()
    kind = keras.layers.BatchNormalization
    layers = [one for one in model.submodules if type(one) is kind and not one.renorm and not one.virtual_batch_size]
    for layer in layers:
        layer.call = _call(layer, layer.call)
    try:
        yield
    finally:
        for layer in layers:
            del layer.call


def _call(layer: Any, plain: Callable[..., Any]) -> Callable[..., Any]:
    import tensorflow as tf

    def call(inputs: Any, training: Any = None, mask: Any = None) -> Any:
        training = layer._get_training_value(training)
        context = tf.distribute.get_replica_context()
        if not training or context is None or mask is not None:
            return plain(inputs, training=training, mask=mask)
        axes = [axis for axis in range(len(inputs.shape)) if axis not in layer.axis]
        values = tf.cast(inputs, tf.float32)
        own = tf.cast(tf.size(values) // tf.size(layer.moving_mean), tf.float32)
        counts = 1.0 if _counts.get() is None else _counts.get()
        sums = tf.concat([own[None], tf.reduce_sum(values, axes)], axis=0) * counts
        sums = context.all_reduce(tf.distribute.ReduceOp.SUM, sums)
        count, mean = sums[0], sums[1:] / sums[0]
        centred = values - _along(mean, layer, inputs)
        # of deviations, not of squares of values, of which float32 would leave little where the mean is large
        squares = context.all_reduce(tf.distribute.ReduceOp.SUM, tf.reduce_sum(tf.square(centred), axes) * counts)
        variance = squares / count
        moving = squares / (count - 1) if layer.fused else variance
        for variable, value in ((layer.moving_mean, mean), (layer.moving_variance, moving)):
            variable.assign_sub((variable - value) * (1.0 - layer.momentum))
        scale = tf.math.rsqrt(variance + layer.epsilon)
        if layer.scale:
            scale *= tf.cast(layer.gamma, tf.float32)
        answers = centred * _along(scale, layer, inputs)
        if layer.center:
            answers += _along(tf.cast(layer.beta, tf.float32), layer, inputs)
        return tf.cast(answers, inputs.dtype)

    return call


def _along(vector: Any, layer: Any, inputs: Any) -> Any:
    """Return a value for each channel in a shape that multiplies the inputs."""
    import tensorflow as tf

    shape = [size if axis in layer.axis else 1 for axis, size in enumerate(inputs.shape)]
    return tf.reshape(vector, shape)
