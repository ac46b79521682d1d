"""What a fit minimizes, by task: a Keras loss of (wanted, answered), and how much each class counts in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.errors import InputError
from pipeline.fit import problems
from pipeline.legacy_keras import load as load_keras

if TYPE_CHECKING:
    import numpy as np

    from pipeline.fit.config import FitConfig
    from pipeline.predictor import Head


def of(head: Head, config: FitConfig, y: Any, *, stage: str) -> Any:
    """Return the Keras loss of (wanted, answered) that a config asks for.

    classification: cross-entropy in nats, of (labels int64 [n], logits [n, classes]). multilabel: binary cross-entropy
    in nats, the mean over labels, of (float32 [n, labels] of 0 and 1, logits). regression: of standardized values
    [n, k], so that its size says the same for all units. reconstruction and anomaly: of values in [0, 1].

    Args:
        y: of the training split (`data.Split.y`), which balanced weights are counted in.
        stage: names the section in messages.

    Raises:
        InputError: the config has a key that is not for this task, or weights of classes that are not there.
    """
    wrong = next(problems.of_task(stage, config, head.task), None)
    if wrong is not None:
        what, _, todo = wrong.partition(": ")
        raise InputError(what, expected="keys for this task", found=f"the task {head.task}", todo=todo)
    match head.task:
        case "classification":
            return cross_entropy(config.label_smoothing, _weights(head, config, y, stage))
        case "multilabel":
            return binary_cross_entropy(config.label_smoothing, _weights(head, config, y, stage))
        case _:
            return _of_values(head, distance(config))


def cross_entropy(label_smoothing: float, weights: Sequence[float] | None = None) -> Any:
    """Return the Keras loss of (labels int64 [n], logits [n, classes]): cross-entropy with smoothed labels.

    Smoothing as in Szegedy et al. 2016: 1 - s on the label and s spread evenly over all classes.

    Args:
        weights: what the loss of a sample is multiplied by, for each class; None: 1.
    """
    keras = load_keras()
    import tensorflow as tf

    if not label_smoothing and weights is None:
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    class CrossEntropy(keras.losses.Loss):  # type: ignore[misc, name-defined]
        def call(self, labels: Any, logits: Any) -> Any:
            classes = logits.shape[-1]
            label = tf.cast(tf.reshape(labels, [-1]), tf.int64)
            hot = tf.one_hot(label, classes, dtype=logits.dtype)
            each = keras.losses.categorical_crossentropy(hot, logits, from_logits=True, label_smoothing=label_smoothing)
            return each if weights is None else each * tf.gather(tf.constant(list(weights), logits.dtype), label)

    return CrossEntropy(name="cross_entropy")


def binary_cross_entropy(label_smoothing: float, weights: Sequence[float] | None = None) -> Any:
    """Return the Keras loss of (wanted [n, labels] of 0 and 1, logits [n, labels]), the mean over labels.

    Smoothing takes 0 to s / 2 and 1 to 1 - s / 2.

    Args:
        weights: what the term of a label that is there is multiplied by, w in -(w y log p + (1 - y) log(1 - p)), for
            each label; None: 1.
    """
    keras = load_keras()
    import tensorflow as tf

    class BinaryCrossEntropy(keras.losses.Loss):  # type: ignore[misc, name-defined]
        def call(self, wanted: Any, logits: Any) -> Any:
            smoothed = tf.cast(wanted, logits.dtype) * (1 - label_smoothing) + label_smoothing / 2
            positive = tf.constant(list(weights) if weights else 1.0, logits.dtype)
            return tf.reduce_mean(tf.nn.weighted_cross_entropy_with_logits(smoothed, logits, positive), axis=-1)

    return BinaryCrossEntropy(name="binary_cross_entropy")


def distance(config: FitConfig) -> Callable[[Any], Any]:
    """Return what a difference of standardized values costs, value by value: (wanted - answered) -> a number >= 0.

    mse: its square. mae: its size. huber: half its square up to delta, and from there the tangent (Huber, 1964).
    """
    load_keras()
    import tensorflow as tf

    delta = config.huber_delta

    def huber(difference: Any) -> Any:
        size = tf.abs(difference)
        return tf.where(size <= delta, 0.5 * tf.square(size), delta * (size - 0.5 * delta))

    found: Callable[[Any], Any] = {None: tf.square, "mse": tf.square, "mae": tf.abs, "huber": huber}[config.loss]
    return found


def _of_values(head: Head, cost: Callable[[Any], Any]) -> Any:
    keras = load_keras()
    import tensorflow as tf

    unit = tf.constant(head.deviation or (1.0,), tf.float32)

    class Standardized(keras.losses.Loss):  # type: ignore[misc, name-defined]
        def call(self, wanted: Any, answered: Any) -> Any:
            return tf.reduce_mean(cost((answered - tf.cast(wanted, answered.dtype)) / unit), axis=-1)

    return Standardized(name="distance")


def _weights(head: Head, config: FitConfig, y: Any, stage: str) -> tuple[float, ...] | None:
    """Return a weight for each class or label; None where the recipe asks for none."""
    import numpy as np

    asked = config.class_weights
    if asked is None:
        return None
    if isinstance(asked, Mapping):
        unknown = [name for name in asked if name not in head.classes]
        if unknown:
            raise InputError(
                f"{stage}.class_weights names classes that the data has not", expected=", ".join(head.classes),
                found=", ".join(unknown), todo="correct the names; classes that are left out have the weight 1",
            )  # fmt: skip
        return tuple(asked.get(name, 1.0) for name in head.classes)
    if head.task == "multilabel":
        return positive_weights(np.asarray(y))
    return balanced_weights(np.asarray(y), len(head.classes))


def balanced_weights(labels: np.ndarray, classes: int) -> tuple[float, ...]:
    """Return scikit-learn's balanced weights, n / (k count): all classes together weigh as much as before.

    Args:
        labels: int64 [n]. classes: their number; one that no sample has weighs 1, and is not counted in k.
    """
    import numpy as np

    counts = np.bincount(labels, minlength=classes)
    present = int(np.count_nonzero(counts))
    return tuple(len(labels) / (present * int(count)) if count else 1.0 for count in counts)


def positive_weights(labels: np.ndarray) -> tuple[float, ...]:
    """Return for each label how many samples are without it for one that has it: both sides weigh the same.

    It is the quotient of scikit-learn's balanced weights of the two sides. Where a side is empty, 1.

    Args:
        labels: [n, labels] of 0 and 1.
    """
    there = labels.sum(axis=0)
    return tuple(float((len(labels) - one) / one) if 0 < one < len(labels) else 1.0 for one in there)
