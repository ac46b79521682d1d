"""What a student takes over of how its teacher relates samples: relational knowledge distillation (Park et al., 2019).

Distances and angles among the embeddings of a batch; the two networks' embeddings may have different lengths.
arXiv:1904.05068, section 3.2.
"""

from __future__ import annotations

from typing import Any


def distances(embeddings: Any) -> tuple[Any, Any]:
    """Return the Euclidean distances of all pairs, in units of their mean (equations 4 and 5), and their directions.

    Where all samples are one point, all distances are 0.

    Args:
        embeddings: float32 [n, d].

    Returns:
        float32 [n, n], 0 on the diagonal; and float32 [n, n, d], from the second sample to the first, of length 1, or 0
        where both are one point.
    """
    import tensorflow as tf

    between = embeddings[:, None] - embeddings[None]
    squared = tf.reduce_sum(tf.square(between), axis=-1)
    # the root's gradient is infinite at 0
    apart = squared > 0
    lengths = tf.where(apart, tf.sqrt(tf.where(apart, squared, 1.0)), 0.0)
    count = tf.shape(embeddings)[0]
    pairs = tf.cast(count * (count - 1), tf.float32)
    mean = tf.math.divide_no_nan(tf.reduce_sum(lengths), pairs)
    return tf.math.divide_no_nan(lengths, mean), tf.math.divide_no_nan(between, lengths[..., None])


def distance_loss(teacher: Any, student: Any) -> Any:
    """Return Huber's loss of the differences in distance, the mean over pairs of samples (equation 6).

    Nothing changes where one network's embeddings are moved, turned, mirrored or scaled.

    Args:
        teacher, student: embeddings, float32 [n, d] each, with a d of their own.

    Returns:
        float32 scalar; 0 where there are fewer than two samples.
    """
    import tensorflow as tf

    (wanted, _), (found, _) = distances(teacher), distances(student)
    count = tf.cast(tf.shape(teacher)[0], tf.float32)
    return tf.math.divide_no_nan(tf.reduce_sum(_huber(found - wanted)), count * (count - 1))


def angle_loss(teacher: Any, student: Any) -> Any:
    """Return Huber's loss of the differences in cosine, the mean over triplets of samples (equations 7 and 8).

    Takes n^3 numbers of memory. Nothing changes where embeddings are moved, turned, mirrored or scaled.

    Args:
        teacher, student: embeddings, float32 [n, d] each, with a d of their own.

    Returns:
        float32 scalar; 0 where there are fewer than three samples.
    """
    import tensorflow as tf

    def cosines(embeddings: Any) -> Any:
        # of the angle at the second sample: [j, i, k]
        _, directions = distances(embeddings)
        return tf.einsum("ijd,kjd->jik", directions, directions)

    count = tf.cast(tf.shape(teacher)[0], tf.float32)
    summed = tf.reduce_sum(_huber(cosines(student) - cosines(teacher)))
    # where two of the three are one sample, both cosines are 0 or both are 1
    return tf.math.divide_no_nan(summed, count * (count - 1) * (count - 2))


def _huber(difference: Any) -> Any:
    """Return x^2 / 2 up to a difference of 1, and |x| - 1/2 beyond, number by number (equation 2)."""
    import tensorflow as tf

    size = tf.abs(difference)
    return tf.where(size <= 1, 0.5 * tf.square(difference), size - 0.5)
