"""What can be trained, and what Keras counts for each task while it is: a metric of at most 1."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pipeline.errors import InputError
from pipeline.legacy_keras import load as load_keras
from pipeline.predictor import GIVING_BACK

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
            todo="leave out train, distill, shrink, prune and quantize, cluster too: it can be exported "
            "(int8 by calibration), served and measured as it is",
        )  # fmt: skip
    return spec.head


def metric(head: Head) -> Any:
    """Return the Keras metric that every fit of a head shows, named as in reports: accuracy, or r2.

    Of several labels it is the share of samples of which all are right; of anomaly detection, R2 of normal samples.
    """
    keras = load_keras()
    import tensorflow as tf

    if head.task == "multilabel":

        def all_right(wanted: Any, logits: Any) -> Any:
            right = tf.equal(tf.cast(wanted, tf.float32) > 0.5, logits > 0)
            return tf.cast(tf.reduce_all(right, axis=-1), tf.float32)

        return keras.metrics.MeanMetricWrapper(all_right, name="accuracy")

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
            if head.task in GIVING_BACK:
                return 1 - tf.reduce_sum(self.errors) / tf.reduce_sum(total)
            return 1 - tf.reduce_mean(self.errors / total)

    return R2(name="r2")
