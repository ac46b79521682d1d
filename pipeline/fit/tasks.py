"""What is minimized and what Keras counts for each task: a loss of (wanted, answered) and a metric of at most 1."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pipeline.errors import InputError
from pipeline.legacy_keras import load as load_keras

if TYPE_CHECKING:
    from pipeline.predictor import Head, Spec


def only_head(spec: Spec) -> Head:
    """Return the head of a model that can be trained.

    Raises:
        InputError: it has several.
    """
    if len(spec.heads) > 1:
        raise InputError(
            "a model with several outputs is not trained here", expected="one output",
            found=f"outputs {', '.join(head.name for head in spec.heads)}",
            todo="leave out train, distill, prune and quantize: it can be exported (int8 by calibration), served and "
            "measured as it is",
        )  # fmt: skip
    return spec.head


def loss(head: Head, label_smoothing: float) -> Any:
    """Return the Keras loss of (wanted, answered).

    classification: cross-entropy in nats, of (labels int64 [n], logits [n, classes]). regression: the mean squared
    error of standardized values [n, k], so that its size says the same for all units. reconstruction: the mean squared
    error of values in [0, 1].
    """
    keras = load_keras()
    import tensorflow as tf

    if head.task == "classification":
        return cross_entropy(label_smoothing)
    unit = tf.constant(head.deviation or (1.0,), tf.float32)

    class Standardized(keras.losses.Loss):  # type: ignore[misc, name-defined]
        def call(self, wanted: Any, answered: Any) -> Any:
            return tf.reduce_mean(tf.square((answered - tf.cast(wanted, answered.dtype)) / unit), axis=-1)

    return Standardized(name="mean_squared_error")


def cross_entropy(label_smoothing: float) -> Any:
    """Return the Keras loss of (labels int64 [n], logits [n, classes]): cross-entropy with smoothed labels.

    Smoothing as in Szegedy et al. 2016: 1 - s on the label and s spread evenly over all classes.
    """
    keras = load_keras()
    import tensorflow as tf

    if not label_smoothing:
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    class Smoothed(keras.losses.Loss):  # type: ignore[misc, name-defined]
        def call(self, labels: Any, logits: Any) -> Any:
            classes = logits.shape[-1]
            hot = tf.one_hot(tf.cast(tf.reshape(labels, [-1]), tf.int64), classes, dtype=logits.dtype)
            return keras.losses.categorical_crossentropy(hot, logits, from_logits=True, label_smoothing=label_smoothing)

    return Smoothed(name="smoothed_cross_entropy")


def metric(head: Head) -> Any:
    """Return the Keras metric that every fit of a head shows, named as in reports: accuracy, or r2."""
    keras = load_keras()
    import tensorflow as tf

    if head.task == "classification":
        return keras.metrics.SparseCategoricalAccuracy(name="accuracy")
    columns = math.prod(head.shape)
    # sums of squares of values far from zero would leave float32 nothing of their differences
    centre = tf.constant(head.mean or (0.0,) * columns, tf.float32)

    class R2(keras.metrics.Metric):  # type: ignore[misc, name-defined]
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.samples = self.add_weight(name="samples", initializer="zeros")
            self.sums, self.squares, self.errors = (
                self.add_weight(name=name, shape=(columns,), initializer="zeros")
                for name in ("sums", "squares", "errors")
            )

        def update_state(self, wanted: Any, answered: Any, sample_weight: Any = None) -> None:  # noqa: ARG002
            wanted = tf.reshape(tf.cast(wanted, tf.float32), [-1, columns]) - centre
            answered = tf.reshape(answered, [-1, columns]) - centre
            self.samples.assign_add(tf.cast(tf.shape(wanted)[0], tf.float32))
            self.sums.assign_add(tf.reduce_sum(wanted, axis=0))
            self.squares.assign_add(tf.reduce_sum(tf.square(wanted), axis=0))
            self.errors.assign_add(tf.reduce_sum(tf.square(wanted - answered), axis=0))

        def reset_state(self) -> None:
            for variable in self.variables:
                variable.assign(tf.zeros_like(variable))

        def result(self) -> Any:
            total = self.squares - tf.square(self.sums) / tf.maximum(self.samples, 1.0)
            if head.task == "reconstruction":
                return 1 - tf.reduce_sum(self.errors) / tf.reduce_sum(total)
            return 1 - tf.reduce_mean(self.errors / total)

    return R2(name="r2")
