from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.compress import channel_graph, fusing, importance, kernels, removal, sensitivity
from pipeline.legacy_keras import load as load_keras

X = np.random.default_rng(0).random((16, 8, 8, 3)).astype(np.float32)


def model(*, norm: str = "BatchNormalization") -> Any:
    """A convolution that makes 8 channels, a depthwise one over them, a residual branch and a dense layer."""
    keras = load_keras()
    layers = keras.layers
    keras.utils.set_random_seed(3)
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(8, 3, padding="same", name="conv")(image)
    x = getattr(layers, norm)(name="norm")(x)
    x = layers.ReLU(name="relu")(x)
    x = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    x = layers.Conv2D(8, 1, activation="sigmoid", name="point")(x)
    x = layers.Dense(3, name="logits")(layers.GlobalAveragePooling2D()(x))
    found = keras.Model(image, x)
    chance, scaled = np.random.default_rng(1), found.get_layer("norm")
    scaled.set_weights([chance.uniform(0.5, 2, one.shape).astype(np.float32) for one in scaled.weights])
    return found


def answers(given: Any) -> np.ndarray:
    found: np.ndarray = given.predict(X, verbose=0)
    return found


def test_smallest_weights_are_zero_and_the_rest_is_as_it_was() -> None:
    layer = model().get_layer("conv")
    (change,) = sensitivity.prunings(layer, [0.5], macs=1000)
    (values,) = change.weights.values()
    before = kernels.of(layer)["kernel"]
    gone = values == 0
    assert gone.sum() == before.size // 2 == change.parameters
    assert change.macs == 500
    assert np.abs(before[gone]).max() <= np.abs(before[~gone]).min()
    np.testing.assert_array_equal(values[~gone], before[~gone])


def test_clusters_are_as_many_as_asked() -> None:
    found = list(sensitivity.clusterings(model().get_layer("conv"), [8, 2], per_channel=False, seed=0))
    assert [change.amount for change in found] == [8, 2]
    assert [np.unique(next(iter(change.weights.values()))).size for change in found] == [8, 2]


@pytest.mark.parametrize("norm", ["BatchNormalization", "LayerNormalization"])
@pytest.mark.parametrize("name", ["conv", "point"])
def test_channels_that_are_silent_come_to_the_same_as_channels_that_are_gone(norm: str, name: str) -> None:
    whole = model(norm=norm)
    graph = channel_graph.follow(whole)
    group = next(group for group in graph.groups if group.name == name)
    scores = importance.scores(graph, whole, "l2")
    (change,) = sensitivity.shrinkings(whole, graph, group, scores, [0.5])
    best = np.sort(np.argsort(-scores[name], kind="stable")[:4])
    smaller = removal.remove(whole, graph, {name: best})
    probe = sensitivity.Probe(whole, [])
    # a layer normalization computes over all channels: values alone cannot say that some are gone
    assert (change.smaller is not None) == (norm == "LayerNormalization" and name == "conv")
    with probe.changed(change) as changed:
        np.testing.assert_allclose(answers(changed), answers(smaller), atol=1e-5)
    assert change.parameters == whole.count_params() - smaller.count_params()


def test_operator_of_a_convolution_ends_behind_its_relu() -> None:
    whole = model()
    assert [layer.name for layer in fusing.behind(whole.get_layer("conv"))] == ["norm", "relu"]
    assert sensitivity.ends(map(whole.get_layer, ("conv", "depthwise", "logits"))) == ["relu", "depthwise", "logits"]
    assert set(fusing.with_operators(whole, {"conv": "why"})) == {"conv", "norm", "relu"}


def test_int8_kernel_is_rounded_as_it_is_with_its_batch_normalization() -> None:
    whole = model()
    layer, norm = whole.get_layer("conv"), whole.get_layer("norm")
    scale = norm.gamma.numpy() / np.sqrt(norm.moving_variance.numpy() + norm.epsilon)
    change = sensitivity.quantization(layer, sensitivity.ranges(whole, ["relu"], [X]))
    folded = change.weights["conv", 0] * scale
    step = np.abs(kernels.of(layer)["kernel"] * scale).max(axis=(0, 1, 2)) / 127
    np.testing.assert_allclose(folded / step, np.rint(folded / step), atol=1e-3)
    assert np.abs(folded - kernels.of(layer)["kernel"] * scale).max() <= step.max() * 0.501
    low, high = change.ranges["relu"]
    assert low == 0 < high


def test_model_is_as_it_was_after_each_change_and_computes_another_thing_meanwhile() -> None:
    whole = model()
    ranges = sensitivity.ranges(whole, ["relu"], [X])
    changes = [
        sensitivity.quantization(whole.get_layer("conv"), ranges),
        *sensitivity.prunings(whole.get_layer("point"), [0.9], 0),
    ]
    before = answers(whole)
    probe = sensitivity.Probe(whole, ["relu"])
    np.testing.assert_array_equal(answers(whole), before)
    for change in changes:
        with probe.changed(change) as changed:
            assert np.abs(answers(changed) - before).max() > 0
        np.testing.assert_array_equal(answers(whole), before)


def test_layer_with_one_huge_channel_loses_most_under_int8() -> None:
    keras = load_keras()
    layers = keras.layers
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(8, 3, name="even")(image)
    x = layers.Dense(8, name="outlier")(layers.GlobalAveragePooling2D()(x))
    whole = keras.Model(image, layers.Dense(3, name="logits")(x))
    kernel, bias = whole.get_layer("outlier").get_weights()
    kernel[0, 0] = 300.0  # all of a dense layer's weights share one range
    whole.get_layer("outlier").set_weights([kernel, bias])
    kernel, bias = whole.get_layer("logits").get_weights()
    kernel[0] = 0.0  # nobody reads it
    whole.get_layer("logits").set_weights([kernel, bias])
    names = ["even", "outlier", "logits"]
    ranges = sensitivity.ranges(whole, names, [X])
    probe, before = sensitivity.Probe(whole, names), answers(whole)
    off = {}
    for name in names:
        with probe.changed(sensitivity.quantization(whole.get_layer(name), ranges)) as changed:
            off[name] = float(np.abs(answers(changed) - before).max())
    assert off["outlier"] > 10 * max(off["even"], off["logits"])
