"""Gradients of the loss on the calibration split, which say what a channel's removal would change of it.

Molchanov et al., 2019 ("Importance Estimation for Neural Network Pruning"): to first order, taking a weight w out
changes the loss by its gradient times w.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from pipeline.legacy_keras import load as load_keras


def gradients(model: Any, batches: Any, loss: Any) -> Iterator[dict[tuple[str, int], np.ndarray]]:
    """Yield for each batch the gradients of its mean loss, by (layer, index in its weights), float32 as the weights.

    The model computes as it does when it is served: no dropout, batch normalization by its stored statistics, of which
    there are no gradients.

    Args:
        model: functional or sequential; layers of models within it are left out.
        batches: a dataset of (x, y).
        loss: a Keras loss of (wanted, answered).
    """
    load_keras()
    import tensorflow as tf

    # also of layers that are frozen: they may lose channels all the same
    places = {
        # outside of replicas, a model computes with the first one's
        (layer.name, index): getattr(weight, "values", (weight,))[0]
        for layer in model.layers
        for index, weight in enumerate(layer.weights)
        if weight.trainable
    }
    variables = list(places.values())

    # what Keras asks of a loss under a strategy is for those of replicas, and each batch is whole here
    loss._allow_sum_over_batch_size = True

    def of_batch(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            value = loss(y, model(x, training=False))
        return tape.gradient(value, variables, unconnected_gradients="zero")

    traced = tf.function(of_batch, reduce_retracing=True)
    for x, y in batches:
        found = traced(x, y)
        yield {place: tf.convert_to_tensor(one).numpy() for place, one in zip(places, found, strict=True)}
