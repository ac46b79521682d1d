"""Clustering's arithmetic: k-means++, what is clustered in a model, and what is told of that."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.compress import clustering, kernels, signs, support
from pipeline.compress.clustering import Clusters, targets
from pipeline.errors import InputError
from pipeline.legacy_keras import load as load_keras
from tests.pipeline.compress import tiny, zoo


def _kernel(zeros: float = 0.0) -> np.ndarray:
    random = np.random.default_rng(0)
    values = random.normal(size=(3, 3, 8, 6)).astype(np.float32)
    values[random.random(values.shape) < zeros] = 0
    return values


@pytest.mark.parametrize("count", [2, 5, 16, 64])
@pytest.mark.parametrize("zeros", [0.0, 0.6])
def test_kernel_has_so_many_distinct_weights_and_its_zeros(count: int, zeros: float) -> None:
    values = _kernel(zeros)
    found = clustering.cluster(values, count, per_channel=False, seed=0)
    assert (found.shape, found.dtype) == (values.shape, np.float32)
    assert clustering.distinct(found, per_channel=False) == count
    assert np.array_equal(found == 0, values == 0)
    # signs stay, but of weights near zero where there are few clusters
    assert np.mean(np.sign(found) == np.sign(values)) > 0.75


def test_channels_have_clusters_of_their_own_where_asked() -> None:
    values = _kernel(0.3) * 10.0 ** np.arange(6, dtype=np.float32)
    found = clustering.cluster(values, 4, per_channel=True, seed=0)
    assert [np.unique(found[..., channel]).size for channel in range(6)] == [4] * 6
    assert clustering.distinct(found, per_channel=True) == 4
    assert clustering.distinct(found, per_channel=False) == 6 * 3 + 1
    whole = clustering.cluster(values, 4, per_channel=False, seed=0)
    first = [np.abs(one[..., 0] - values[..., 0]).mean() for one in (found, whole)]
    assert first[0] < 0.5 * first[1]


def test_weights_go_to_the_nearest_center_and_centers_are_their_means() -> None:
    values = _kernel()
    found = clustering.cluster(values, 8, per_channel=False, seed=0)
    centers = np.unique(found)
    nearest = centers[np.abs(values[..., None] - centers).argmin(axis=-1)]
    assert np.mean(nearest == found) > 0.999
    for center in centers:
        assert center == pytest.approx(values[found == center].mean(), abs=1e-5)


def test_clusters_lose_no_more_than_scikit_learns_kmeans() -> None:
    from sklearn.cluster import KMeans

    values = _kernel()
    found = clustering.cluster(values, 16, per_channel=False, seed=0)
    theirs = KMeans(16, n_init=1, random_state=0).fit(values.reshape(-1, 1)).inertia_
    assert float(((found - values) ** 2).sum()) < 1.05 * theirs


def test_same_seed_gives_the_same_bytes_and_few_weights_are_left_alone() -> None:
    values = np.random.default_rng(1).normal(size=(400, 300)).astype(np.float32)  # more than are sampled
    one, two = (clustering.cluster(values, 32, per_channel=False, seed=3) for _ in range(2))
    assert one.tobytes() == two.tobytes()
    assert clustering.distinct(one, per_channel=False) == 32
    few = np.array([[0, 1, 2], [2, 1, 0]], np.float32)
    assert clustering.cluster(few, 3, per_channel=False, seed=0) is few


def test_targets_are_the_number_in_every_layer_with_a_kernel() -> None:
    found = targets(tiny.cnn(), 16, {}, per_channel=False)
    assert found == dict.fromkeys(("conv", "hidden", "logits"), Clusters(16, "tensor"))


@pytest.mark.parametrize(
    ("by_layer", "expected"),
    [
        ({"logits": None}, {"conv": 16, "hidden": 16}),
        ({"conv": 4}, {"conv": 4, "hidden": 16, "logits": 16}),
        ({"*": None, "hidden": 2}, {"hidden": 2}),
        ({"hidden": 9, "*": 3}, {"conv": 3, "hidden": 3, "logits": 3}),
    ],
)
def test_targets_follow_the_last_pattern_that_fits(by_layer: dict[str, Any], expected: dict[str, int]) -> None:
    found = targets(tiny.cnn(), 16, by_layer, per_channel=True)
    assert found == {name: Clusters(most, "channel") for name, most in expected.items()}


def test_targets_are_refused_when_a_pattern_fits_no_layer() -> None:
    with pytest.raises(InputError, match=r"cluster\.layers names what is no layer of the model") as refused:
        targets(tiny.cnn(), 16, {"conv": 4, "dense_*": 4}, per_channel=False)
    assert refused.value.found == "dense_*"
    assert refused.value.expected.startswith("names or patterns of samples, conv, norm, relu,")


def test_targets_are_refused_for_layers_that_cannot_be_clustered() -> None:
    layers = load_keras().layers
    model = tiny.sequential(
        layers.DepthwiseConv2D(3, name="depth"), layers.ReLU(name="relu"), layers.Flatten(), layers.Dense(3)
    )
    with pytest.raises(InputError, match="asks for clusters in layers that cannot be clustered") as refused:
        targets(model, 16, {"depth": 4, "relu": 4}, per_channel=False)
    assert "depth: a depthwise kernel has a few weights for all that its channel does" in refused.value.found
    assert "relu: it has no kernel" in refused.value.found
    assert list(targets(model, 16, {"*": 4, "depth": None}, per_channel=False).values()) == [Clusters(4)]


def test_targets_are_refused_when_nothing_is_left() -> None:
    with pytest.raises(InputError, match="there is nothing to cluster in the model") as refused:
        targets(tiny.cnn(), 16, {"*": None}, per_channel=False)
    assert refused.value.todo == "leave the section cluster out"


def test_transposed_kernels_are_clustered_as_a_whole() -> None:
    found = targets(zoo.around("Conv2DTranspose"), 16, {}, per_channel=True)
    assert found[zoo.NAME].per == "tensor"
    assert found["logits"].per == "channel"


_CLUSTERABLE = [kind for kind, row in support.TABLE.items() if row.prunable or row.clusterable]


@pytest.mark.parametrize("kind", _CLUSTERABLE)
def test_clusterable_layers_get_their_clusters_and_nothing_else_changes(kind: str) -> None:
    model = zoo.around(kind)
    layer = zoo.subject(model)
    assert support.spread(layer) == ""
    before = {name: values.copy() for name, values in kernels.of(layer).items()}
    clustering.apply(model, {zoo.NAME: Clusters(3)}, seed=0)
    after = kernels.of(layer)
    assert set(support.clusterable(layer)) <= set(after)
    for name, values in after.items():
        if name in support.clusterable(layer):
            assert clustering.distinct(values, per_channel=False) <= 3 < before[name].size
        else:
            assert np.array_equal(values, before[name])


@pytest.mark.parametrize("kind", [kind for kind in support.TABLE if kind not in _CLUSTERABLE and kind != "PReLU"])
def test_other_layers_with_kernels_say_why_not(kind: str) -> None:
    layer = zoo.subject(zoo.around(kind))
    assert support.clusterable(layer) == ()
    assert bool(support.spread(layer)) == bool(kernels.of(layer))


def _normed(gamma: list[float]) -> Any:
    layers = load_keras().layers
    model = tiny.sequential(
        layers.Conv2D(4, 3, name="conv"), layers.BatchNormalization(name="norm"), layers.Flatten(),
        layers.Dense(8, name="hidden"), layers.BatchNormalization(name="dense_norm"), layers.Dense(3, name="logits"),
    )  # fmt: skip
    model.get_layer("norm").gamma.assign(np.float32(gamma))
    return model


def test_negative_scales_move_into_the_kernel_and_the_answers_stay() -> None:
    model = _normed([1.0, -0.5, 0.7, -2.0])
    assert signs.negative(model.get_layer("conv"))
    wanted, weights = tiny.answers(model), model.get_weights()
    found, into = clustering.prepared(model, ["conv", "logits"])
    assert into == {}
    assert found.get_layer("norm").gamma.numpy() == pytest.approx([1.0, 0.5, 0.7, 2.0])
    kernel = model.get_layer("conv").kernel.numpy()
    assert np.array_equal(found.get_layer("conv").kernel.numpy(), kernel * np.float32([1, -1, 1, -1]))
    assert tiny.answers(found) == pytest.approx(wanted, abs=1e-5)
    assert all(np.array_equal(one, two) for one, two in zip(model.get_weights(), weights, strict=True))
    assert signs.move(found, ["conv"]) == 0


def test_normalization_behind_a_clustered_dense_layer_goes_into_it() -> None:
    model = _normed([1.0, 1.0, 1.0, 1.0])
    found, into = clustering.prepared(model, ["hidden"])
    assert into == {"dense_norm": "hidden"}
    assert "dense_norm" not in [layer.name for layer in found.layers]
    assert tiny.answers(found) == pytest.approx(tiny.answers(model), abs=1e-5)


def test_clusters_that_a_model_brings_along_are_seen() -> None:
    model = _normed([1.0, 1.0, 1.0, 1.0])
    assert clustering.brought(model) == {}
    clustering.apply(model, {"conv": Clusters(3), "hidden": Clusters(4)}, seed=0)
    assert clustering.brought(model) == {"conv": Clusters(3), "hidden": Clusters(4)}
    # a kernel of which pruning left few weights is not clustered for that
    kernel = model.get_layer("hidden").kernel
    few = np.zeros(kernel.shape, np.float32)
    few[:9, 0] = np.arange(1, 10)
    kernel.assign(few)
    assert clustering.brought(model) == {"conv": Clusters(3)}
    # nor one that has not learned
    kernel.assign(np.ones_like(few))
    assert clustering.brought(model) == {"conv": Clusters(3)}
    # an int8 file negates a channel
    model.get_layer("norm").gamma.assign(np.float32([1, -1, 1, 1]))
    assert clustering.brought(model)["conv"].per == "channel"
