"""How the work of a fit is divided among replicas of a model, such that it is what one device would have done.

Each batch of the recipe is cut into consecutive parts, one a replica, and what is minimized is the mean over the whole
batch: also where the parts are not equally large, or some are empty. Keras by itself takes the mean of the replicas'
means. Batch normalization has the statistics of the whole batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pipeline.compute import batch_norm
from pipeline.data.batches import Parts
from pipeline.legacy_keras import load as load_keras


@dataclass(frozen=True)
class Division:
    """How the batches of one fit are divided.

    Attributes:
        replicas: among how many; 1: nothing is divided.
        uneven: whether parts of some training batch differ in size: these have a third tensor then, see
            `batches.training`.
    """

    replicas: int
    uneven: bool

    @classmethod
    def of(cls, samples: int, batch_size: int) -> Division:
        """Return how batches of a training split are divided under the present strategy."""
        load_keras()
        import tensorflow as tf

        count = int(tf.distribute.get_strategy().num_replicas_in_sync)
        return cls(count, Parts(0, count, count).uneven(samples, batch_size))

    def batches(self, make: Callable[[Parts | None], Any]) -> Any:
        """Return what Keras fits on.

        Args:
            make: returns a dataset; given `Parts`, one that does not end.
        """
        if self.replicas == 1:
            return make(None)
        import tensorflow as tf

        def of_worker(context: Any) -> Any:
            count = self.replicas // context.num_input_pipelines
            made = make(Parts(context.input_pipeline_id * count, count, self.replicas))
            # every replica has a part in every step: TensorFlow need not ask each of them whether there is one
            return made.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))

        return tf.distribute.get_strategy().distribute_datasets_from_function(of_worker)

    def steps(self, samples: int, batch_size: int) -> int | None:
        """Return in how many steps a divided dataset shows each sample once; None: it ends by itself."""
        return None if self.replicas == 1 else math.ceil(samples / batch_size)

    @contextmanager
    def among_replicas(self, model: Any) -> Iterator[None]:
        """Let a model's replicas learn inside the block what one would have learned; it is compiled inside."""
        if self.replicas == 1:
            yield
            return
        with batch_norm.synchronized(model), _evened(model, self.replicas) if self.uneven else _nothing():
            yield


@contextmanager
def _nothing() -> Iterator[None]:
    yield


@contextmanager
def _evened(model: Any, replicas: int) -> Iterator[None]:
    """Let a model's loss be the mean over the whole batch where its parts differ in size."""
    import tensorflow as tf

    before = vars(model).get("compute_loss")
    plain: Callable[..., Any] = model.compute_loss

    def compute_loss(x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, *more: Any) -> Any:
        loss = plain(x, y, y_pred, None, *more)
        if sample_weight is None or loss is None:
            return loss
        penalties = tf.add_n(model.losses) / replicas if model.losses else 0.0
        # the same for all samples of a part; where there are none, the mean of nothing does not count
        share = tf.reduce_max(tf.concat([tf.reshape(sample_weight, [-1]), [0.0]], axis=0))
        return tf.math.multiply_no_nan(loss - penalties, tf.cast(share, loss.dtype)) + penalties

    model.compute_loss = compute_loss
    try:
        yield
    finally:
        if before is None:
            del model.compute_loss
        else:
            model.compute_loss = before
