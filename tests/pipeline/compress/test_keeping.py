"""Zeros and clusters stay whatever trains on, in every kind of layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.compress import clustering, keeping, kernels, support
from pipeline.compress.clustering import Clusters, distinct
from pipeline.legacy_keras import load as load_keras
from tests.pipeline.compress import tiny, zoo
from tests.pipeline.compress.test_clustering import _CLUSTERABLE


def _sparse(model: Any) -> None:
    """Set the smaller half of each kernel to zero."""
    for layer in model.layers:
        for weight in kernels.variables(layer).values():
            values = weight.numpy()
            weight.assign(np.where(np.abs(values) < np.median(np.abs(values)), 0, values))


def _stepped(model: Any, steps: int = 2) -> None:
    """Train some steps by hand: constraints are the optimizer's doing."""
    import tensorflow as tf

    keras = load_keras()
    optimizer, x = keras.optimizers.Adam(0.05), zoo.samples(model)
    for _ in range(steps):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(x, training=True) - 1.0))
        gradients = tape.gradient(loss, model.trainable_weights)
        pairs = [pair for pair in zip(gradients, model.trainable_weights, strict=True) if pair[0] is not None]
        optimizer.apply_gradients(pairs)


@pytest.mark.parametrize("kind", _CLUSTERABLE)
def test_zeros_and_clusters_of_a_layer_stay_and_learn(kind: str) -> None:
    model = zoo.around(kind)
    _sparse(model)
    clustering.apply(model, {zoo.NAME: Clusters(3)}, seed=0)
    before = kernels.of(zoo.subject(model))
    keeping.kept(model, {zoo.NAME: "tensor"})
    _stepped(model)
    for name, values in kernels.of(zoo.subject(model)).items():
        assert np.all(values[before[name] == 0] == 0), name
        if name in support.clusterable(zoo.subject(model)):
            assert distinct(values, per_channel=False) <= 3
            # weights that were equal still are
            for one in np.unique(before[name]):
                assert np.unique(values[before[name] == one]).size == 1
            assert not np.array_equal(values, before[name])


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "adamw", "rmsprop"])
@pytest.mark.parametrize("per", ["tensor", "channel"])
def test_clusters_stay_under_every_optimizer_and_regularizer(tmp_path: Path, optimizer: str, per: Any) -> None:
    model = tiny.cnn(kernel_regularizer=load_keras().regularizers.L2(0.01))
    _sparse(model)
    clustering.apply(model, {"conv": Clusters(4, per), "hidden": Clusters(5, per)}, seed=0)
    before = {name: kernels.of(model.get_layer(name))["kernel"] for name in ("conv", "hidden", "logits")}
    keeping.kept(model, {"conv": per, "hidden": per})
    tiny.tune(model, tmp_path, optimizer=optimizer)
    for name, most in (("conv", 4), ("hidden", 5)):
        after = kernels.of(model.get_layer(name))["kernel"]
        assert distinct(after, per_channel=per == "channel") <= most
        assert np.array_equal(after == 0, before[name] == 0)
        assert not np.array_equal(after, before[name])
    # no cluster is asked of it, and it learns freely around its zeros
    logits = kernels.of(model.get_layer("logits"))["kernel"]
    assert np.array_equal(logits == 0, before["logits"] == 0)
    assert distinct(logits, per_channel=False) > 6


def test_step_of_a_cluster_is_the_mean_of_its_weights_steps() -> None:
    """Deep Compression, section 3.3, with the mean in place of the sum."""
    free, shared = tiny.cnn(), tiny.cnn()
    for model in (free, shared):
        clustering.apply(model, {"hidden": Clusters(4)}, seed=0)
    start = free.get_layer("hidden").kernel.numpy()
    keeping.kept(shared, {"hidden": "tensor"})
    import tensorflow as tf

    for model in (free, shared):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(tiny.SPLITS.validation.x)))
        optimizer = load_keras().optimizers.SGD(0.1)
        optimizer.apply_gradients(
            zip(tape.gradient(loss, model.trainable_weights), model.trainable_weights, strict=True)
        )
    alone, together = (model.get_layer("hidden").kernel.numpy() for model in (free, shared))
    for center in np.unique(start):
        assert together[start == center] == pytest.approx(alone[start == center].mean(), rel=1e-4)


def test_scale_behind_a_clustered_convolution_stays_positive(tmp_path: Path) -> None:
    for how, positive in (({"conv": "tensor"}, True), ({"conv": "channel"}, False)):
        model = tiny.cnn()
        model.get_layer("norm").gamma.assign(np.float32([0.01, 0.01, 0.01, 0.01]))
        keeping.kept(model, how)
        tiny.tune(model, tmp_path / str(positive), optimizer="adam", epochs=3)
        assert bool((model.get_layer("norm").gamma.numpy() > 0).all()) is positive


def test_other_constraint_of_a_weight_still_holds(tmp_path: Path) -> None:
    model = tiny.cnn(kernel_constraint=load_keras().constraints.MaxNorm(0.5, axis=[0]))
    clustering.apply(model, {"hidden": Clusters(4)}, seed=0)
    keeping.kept(model, {"hidden": "tensor"})
    tiny.tune(model, tmp_path, optimizer="sgd", epochs=1)
    kernel = model.get_layer("hidden").kernel.numpy()
    assert distinct(kernel, per_channel=False) <= 4
    assert np.linalg.norm(kernel, axis=0).max() < 1.0
