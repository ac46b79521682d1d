"""How the work of a fit is divided among replicas of a model, such that it is what one device would have done.

Each batch of the recipe is cut into consecutive parts, one a replica, and what is minimized is the mean over the whole
batch: also where the parts are not equally large, or some are empty. Keras by itself takes the mean of the replicas'
means. Batch normalization has the statistics of the whole batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import count
from typing import Any

from pipeline.compute import batch_norm
from pipeline.data.batches import Parts
from pipeline.errors import InputError
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

        replicas = int(tf.distribute.get_strategy().num_replicas_in_sync)
        return cls(replicas, Parts(0, replicas, replicas).uneven(samples, batch_size))

    def batches(self, make: Callable[[Parts | None], Any]) -> Any:
        """Return what Keras fits on.

        Args:
            make: returns a dataset; given `Parts`, one that does not end.
        """
        if self.replicas == 1:
            return make(None)
        import tensorflow as tf

        def of_worker(context: Any) -> Any:
            own = self.replicas // context.num_input_pipelines
            made = make(Parts(context.input_pipeline_id * own, own, self.replicas))
            # every replica has a part in every step: TensorFlow need not ask each of them whether there is one
            return made.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))

        return tf.distribute.get_strategy().distribute_datasets_from_function(of_worker)

    def steps(self, samples: int, batch_size: int) -> int | None:
        """Return in how many steps a divided dataset shows each sample once; None: it ends by itself."""
        return None if self.replicas == 1 else math.ceil(samples / batch_size)

    def evaluation_batch(self, samples: int, batch_size: int) -> int:
        """Return a batch size, at least the one given, with which every replica has a part of every batch.

        Raises:
            InputError: there are fewer samples than replicas.
        """
        if self.replicas == 1:
            return batch_size
        if samples < self.replicas:
            raise InputError(
                "the validation split has fewer samples than there are replicas", expected=f"{self.replicas} or more",
                found=str(samples), todo="a larger validation split, or fewer devices",
            )  # fmt: skip
        return next(size for size in count(batch_size) if samples % size == 0 or samples % size >= self.replicas)

    @contextmanager
    def counted(self, model: Any) -> Iterator[None]:
        """Let samples that fill an empty part count nowhere; to be entered before anything else changes the loss."""
        if not self.uneven:
            yield
            return
        import tensorflow as tf

        loss, metrics = model.compute_loss, model.compute_metrics

        def real(y: Any, y_pred: Any, weights: Any) -> Any:
            if weights is None:
                return y, y_pred
            samples = tf.math.count_nonzero(weights)
            return tf.nest.map_structure(lambda one: one[:samples], (y, y_pred))

        def compute_loss(x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None) -> Any:
            return loss(x, *real(y, y_pred, sample_weight), None)

        def compute_metrics(x: Any, y: Any, y_pred: Any, sample_weight: Any) -> Any:
            return metrics(x, *real(y, y_pred, sample_weight), None)

        model.compute_loss, model.compute_metrics = compute_loss, compute_metrics
        try:
            yield
        finally:
            del model.compute_loss, model.compute_metrics

    @contextmanager
    def among_replicas(self, model: Any) -> Iterator[None]:
        """Let a model's replicas learn inside the block what one would have learned; it is compiled inside.

        To be entered after everything else that changes the loss.
        """
        if self.replicas == 1:
            yield
            return
        with batch_norm.synchronized(model), _evened(model, self.replicas) if self.uneven else nullcontext():
            yield


@contextmanager
def _evened(model: Any, replicas: int) -> Iterator[None]:
    """Let a model's loss be the mean over the whole batch where its parts differ in size."""
    keras = load_keras()
    import tensorflow as tf

    before = {name: vars(model).get(name) for name in ("compute_loss", "train_step")}
    loss: Callable[..., Any] = model.compute_loss
    step: Callable[[Any], Any] = model.train_step

    def compute_loss(x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, *more: Any) -> Any:
        whole = loss(x, y, y_pred, sample_weight, *more)
        if sample_weight is None or whole is None:
            return whole
        penalties = tf.add_n(model.losses) / replicas if model.losses else 0.0
        # the same for all samples of a part
        share = tf.cast(sample_weight[0], whole.dtype)
        return (whole - penalties) * share + penalties

    def train_step(data: Any) -> Any:
        _, _, weights = keras.utils.unpack_x_y_sample_weight(data)
        if weights is None:
            return step(data)
        with batch_norm.counting(tf.cast(weights[0] > 0, tf.float32)):
            return step(data)

    model.compute_loss, model.train_step = compute_loss, train_step
    try:
        yield
    finally:
        for name, was in before.items():
            if was is None:
                delattr(model, name)
            else:
                setattr(model, name, was)
