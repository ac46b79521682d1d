"""Knowledge distillation on logits (Hinton, Vinyals and Dean, 2015), and on values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


def soft_targets(logits: Sequence[Any], temperature: float) -> Any:
    """Return the mean over teachers of softmax(logits / T), float32 [n, classes].

    Args:
        logits: one tensor [n, classes] a teacher.
    """
    import tensorflow as tf

    softened = [tf.nn.softmax(one / temperature) for one in logits]
    return tf.add_n(softened) / len(softened)


def soft_loss(targets: Any, logits: Any, temperature: float) -> Any:
    """Return T^2 KL(targets || softmax(logits / T)), the mean over the batch, in nats.

    With the factor the gradients keep their size whatever the temperature (section 2 of the paper). Against the
    paper's cross-entropy only the targets' own entropy is missing: a constant, so that a perfect student has 0.
    """
    import tensorflow as tf

    divergence = tf.reduce_sum(
        tf.math.xlogy(targets, targets) - targets * tf.nn.log_softmax(logits / temperature), axis=-1
    )
    return temperature**2 * tf.reduce_mean(divergence)


def binary_targets(logits: Sequence[Any], temperature: float) -> Any:
    """Return the mean over teachers of sigmoid(logits / T), float32 [n, labels].

    Args:
        logits: one tensor [n, labels] a teacher.
    """
    import tensorflow as tf

    return tf.add_n([tf.sigmoid(one / temperature) for one in logits]) / len(logits)


def binary_loss(targets: Any, logits: Any, temperature: float) -> Any:
    """Return T^2 KL(targets || sigmoid(logits / T)) of each label by itself, the mean over labels and batch, in nats.

    A label that may be there beside others is two classes of its own; see `soft_loss`.
    """
    import tensorflow as tf

    softened = logits / temperature
    own = tf.math.xlogy(targets, targets) + tf.math.xlogy(1 - targets, 1 - targets)
    divergence = own + tf.nn.sigmoid_cross_entropy_with_logits(targets, softened)
    return temperature**2 * tf.reduce_mean(divergence)


def value_loss(
    answers: Sequence[Any], values: Any, deviation: Sequence[float], distance: Callable[[Any], Any] | None = None
) -> Any:
    """Return the mean difference to the teachers' mean answer, in units of `deviation`; squared, or as `distance` says.

    For answers that are values and not logits, there is nothing to soften (Bucila et al., 2006: mimic learning).

    Args:
        answers: one tensor [n, ...] a teacher. values: the student's, of the same shape.
        deviation: one number for each value, or none: the answers have no unit.
        distance: what a difference costs, value by value; None: its square.
    """
    import tensorflow as tf

    mean = tf.add_n(list(answers)) / len(answers)
    difference = (values - mean) / tf.constant(tuple(deviation) or (1.0,), tf.float32)
    return tf.reduce_mean((distance or tf.square)(difference))
