"""Knowledge distillation on logits (Hinton, Vinyals and Dean, 2015)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.predictor import Head


@dataclass(frozen=True)
class Teaching:
    """Who teaches, and how much of the loss is theirs.

    Attributes:
        teachers: Keras models, raw values in, logits [n, classes] out, or values; at least one.
        temperature: T > 0 that softens both sides of logits.
        soft_weight: share of the soft loss in [0, 1]; the labels have the rest.
    """

    teachers: Sequence[Any]
    temperature: float
    soft_weight: float


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


@contextmanager
def taught(
    model: Any, teaching: Teaching | None, head: Head, distance: Callable[[Any], Any] | None = None
) -> Iterator[None]:
    """Let `model`, compiled with a loss of (wanted, answered), learn from its teachers too inside the block.

    What is minimized is (1 - w) hard + w soft + the layers' penalties. The metrics stay those of the labels alone, so
    that curves with and without a teacher can be compared.

    Args:
        distance: of values; see `value_loss`. What is learned of a teacher costs as what is learned of the data.
    """
    if teaching is None or teaching.soft_weight == 0:
        yield
        return
    import tensorflow as tf

    plain: Callable[..., Any] = model.compute_loss

    def compute_loss(x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None) -> Any:
        hard_and_penalties = plain(x, y, y_pred, sample_weight)
        penalties = tf.add_n(model.losses) if model.losses else 0.0
        answers = [tf.stop_gradient(teacher(x, training=False)) for teacher in teaching.teachers]
        match head.task:
            case "classification":
                soft = soft_loss(soft_targets(answers, teaching.temperature), y_pred, teaching.temperature)
            case "multilabel":
                soft = binary_loss(binary_targets(answers, teaching.temperature), y_pred, teaching.temperature)
            case _:
                soft = value_loss(answers, y_pred, head.deviation, distance)
        hard = hard_and_penalties - penalties
        return (1 - teaching.soft_weight) * hard + teaching.soft_weight * soft + penalties

    model.compute_loss = compute_loss
    try:
        yield
    finally:
        del model.compute_loss
