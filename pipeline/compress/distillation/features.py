"""What a student takes over of its teacher's features: hints (Romero et al., 2015) and attention (Zagoruyko and
Komodakis, 2017).
"""

from __future__ import annotations

from typing import Any


def hint_loss(hints: Any, guided: Any) -> Any:
    """Return half the squared difference of features, the mean over batch, positions and channels.

    Equation 3 of FitNets (arXiv:1412.6550, section 2.2), there a sum over positions and channels: with the mean a
    weight is worth the same in layers of every size.

    Args:
        hints: the teacher's features, float32 [n, *positions, channels].
        guided: the student's behind the regressor, of the same shape.

    Returns:
        float32 scalar, at least 0.
    """
    import tensorflow as tf

    return 0.5 * tf.reduce_mean(tf.square(guided - hints))


def attention_map(features: Any) -> Any:
    """Return where a layer looks: the sum of squares over its channels, as a vector of length 1.

    F_sum^2 and Q / ||Q||_2 of Paying More Attention to Attention (arXiv:1612.03928, section 3.1). What is zero
    everywhere looks nowhere, and has zeros.

    Args:
        features: float32 [n, *positions, channels], at least one axis of positions.

    Returns:
        float32 [n, positions], in [0, 1].
    """
    import tensorflow as tf

    energy = tf.reduce_sum(tf.square(features), axis=-1)
    flat = tf.reshape(energy, (tf.shape(energy)[0], -1))
    # as l2_normalize, but with a bound that maps of small values do not fall below
    return flat * tf.math.rsqrt(tf.maximum(tf.reduce_sum(tf.square(flat), axis=-1, keepdims=True), _TINY))


def attention_loss(teacher: Any, student: Any) -> Any:
    """Return the squared distance of two layers' attention maps, the mean over the batch.

    Equation 2 of the paper (section 3.1) with p = 2, squared as in its authors' code; their mean over positions is left
    out, so that the loss is in [0, 2] whatever the resolution.

    Args:
        teacher, student: features, float32 [n, *positions, channels], of the same positions; channels may differ.

    Returns:
        float32 scalar.
    """
    import tensorflow as tf

    difference = attention_map(student) - attention_map(teacher)
    return tf.reduce_mean(tf.reduce_sum(tf.square(difference), axis=-1))


# squared length below which a map counts as zero, so that its gradient is finite
_TINY = 1e-30
