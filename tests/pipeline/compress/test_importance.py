"""Scores of channels, worked out by hand from the weights and gradients of small models."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest

from pipeline.compress import channel_graph, importance
from pipeline.compress.importance import Gradients, How
from pipeline.legacy_keras import load as load_keras

HIDDEN = np.array([[1, 2, 3], [0, 0, -4]], np.float32)
LOGITS = np.array([[3, 4], [0, 0], [0, -5]], np.float32)


def _dense(hidden: np.ndarray = HIDDEN, logits: np.ndarray = LOGITS) -> Any:
    """Return hidden, logits with these kernels, and biases that would drown them."""
    keras = load_keras()
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(2, name="logits")(keras.layers.Dense(3, name="hidden")(inputs)))
    model.set_weights([hidden, np.array([900, 0, 0]), logits, np.zeros(2)])
    return model


def _scores(model: Any, how: How, **options: Any) -> dict[str, Any]:
    found = importance.scores(channel_graph.follow(model), model, how, **options)
    assert all(one.dtype == np.float64 for one in found.values())
    return {name: pytest.approx(one.tolist()) for name, one in found.items()}


def test_l1_is_the_mean_of_what_each_kernel_says() -> None:
    # what hidden makes: 1, 2, 7 of the mean 10/3; what logits reads: 7, 0, 5 of the mean 4
    assert _scores(_dense(), "l1")["hidden"] == [(0.3 + 1.75) / 2, (0.6 + 0) / 2, (2.1 + 1.25) / 2]


def test_l2_is_the_mean_of_what_each_kernel_says() -> None:
    # 1, 2, 5 of the mean 8/3; 5, 0, 5 of the mean 10/3
    assert _scores(_dense(), "l2")["hidden"] == [(0.375 + 1.5) / 2, (0.75 + 0) / 2, (1.875 + 1.5) / 2]


@pytest.mark.parametrize("how", ["l1", "l2"])
def test_scores_have_the_mean_one_and_do_not_depend_on_the_size_of_a_kernel(how: How) -> None:
    found = importance.scores(channel_graph.follow(_dense()), _dense(), how)["hidden"]
    assert found.mean() == pytest.approx(1)
    assert _scores(_dense(logits=1000 * LOGITS), how)["hidden"] == found.tolist()


@pytest.mark.parametrize("how", ["l1", "l2"])
def test_channels_are_alike_to_a_kernel_of_zeros(how: How) -> None:
    by_hidden = {"l1": [0.3, 0.6, 2.1], "l2": [0.375, 0.75, 1.875]}[how]
    assert _scores(_dense(logits=0 * LOGITS), how)["hidden"] == [(one + 1) / 2 for one in by_hidden]


def test_channel_has_all_that_a_flattened_map_gives_to_its_reader() -> None:
    keras = load_keras()
    inputs = keras.Input((1, 2, 1))
    x = keras.layers.Conv2D(2, 1, use_bias=False, name="conv")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(1, use_bias=False, name="logits")(keras.layers.Flatten()(x)))
    # rows of the places left and right, of two channels each: 1 and 4 of one, 2 and 3 of the other
    model.set_weights([np.array([[[[1.0, 3.0]]]]), np.array([[1.0], [2.0], [4.0], [3.0]])])
    assert _scores(model, "l1")["conv"] == [(0.5 + 1) / 2, (1.5 + 1) / 2]


def _normalized(*, scale: bool = True) -> Any:
    """Return left, right (two channels each) beside each other, norm over both, hidden of two, logits."""
    keras = load_keras()
    layers, inputs = keras.layers, keras.Input((2,))
    x = layers.Concatenate()([layers.Dense(2, name=name)(inputs) for name in ("left", "right")])
    x = layers.Dense(2, use_bias=False, name="hidden")(layers.BatchNormalization(scale=scale, name="norm")(x))
    return keras.Model(inputs, layers.Dense(1, use_bias=False, name="logits")(x))


def test_batch_norm_compares_the_scales_within_each_group() -> None:
    model = _normalized()
    model.get_layer("norm").set_weights([np.array([1, -3, 0.5, 0]), np.full(4, 9), np.full(4, 9), np.full(4, 9)])
    found = _scores(model, "batch_norm")
    assert (found["left"], found["right"]) == ([0.5, 1.5], [2, 0])


def test_batch_norm_is_the_mean_of_all_scales_behind_a_group() -> None:
    keras = load_keras()
    layers, inputs = keras.layers, keras.Input((2,))
    x = layers.Dense(2, name="hidden")(inputs)
    x = layers.Concatenate()([layers.BatchNormalization(name=name)(x) for name in ("one", "other")])
    model = keras.Model(inputs, layers.Dense(1)(x))
    for name, gammas in (("one", [1, 3]), ("other", [30, 10])):
        model.get_layer(name).set_weights([np.array(gammas), *np.ones((3, 2))])
    assert _scores(model, "batch_norm")["hidden"] == [(0.5 + 1.5) / 2, (1.5 + 0.5) / 2]


def test_group_without_scales_is_compared_by_the_size_of_its_kernels() -> None:
    model = _normalized()
    model.get_layer("hidden").set_weights([np.array([[1, 3], [0, 0], [0, 0], [0, 0]])])
    model.get_layer("logits").set_weights([np.array([[-3], [1]])])
    assert _scores(model, "batch_norm")["hidden"] == [(0.5 + 1.5) / 2, (1.5 + 0.5) / 2]
    assert _scores(model, "batch_norm")["hidden"] == importance.scores(
        channel_graph.follow(model), model, "l1"
    )["hidden"].tolist()  # fmt: skip


@pytest.mark.parametrize(("scale", "named"), [(True, ["hidden"]), (False, ["left", "right", "hidden"])])
def test_groups_without_scales_are_named(scale: bool, named: list[str]) -> None:
    graph = channel_graph.follow(_normalized(scale=scale))
    assert importance.without_scales(graph) == named  # nothing of logits can be removed


def _of_products(products: list[list[float]]) -> Gradients:
    """Return gradients of hidden's kernel that times its weights sum up to these numbers of each channel."""
    return {("hidden", 0): np.array(products, np.float32)}


def test_taylor_is_the_root_of_the_mean_square_over_batches_of_what_a_kernels_changes_sum_up_to() -> None:
    model = _dense(hidden=np.ones((2, 3)), logits=np.ones((3, 2)))
    # the sums are 3, 1, 0 of one batch and -4, 1, 2 of the other: roots of 25, 2 and 4
    batches = [_of_products([[2, 5, 7], [1, -4, -7]]), _of_products([[-4, 0.5, 1], [0, 0.5, 1]])]
    roots = np.sqrt([25, 2, 4])
    assert _scores(model, "taylor", gradients=batches)["hidden"] == (roots / roots.mean()).tolist()
    assert _scores(model, "taylor", gradients=iter(batches * 2))["hidden"] == (roots / roots.mean()).tolist()


def test_taylor_weighs_gradients_with_the_weights() -> None:
    model = _dense()
    ones: Gradients = {("hidden", 0): np.ones((2, 3), np.float32)}
    assert _scores(model, "taylor", gradients=[ones])["hidden"] == [0.75, 1.5, 0.75]  # 1, 2 and 3 - 4


def test_taylor_counts_a_channel_by_what_makes_it_and_what_reads_it() -> None:
    model = _dense(hidden=np.ones((2, 3)), logits=np.ones((3, 2)))
    both: Gradients = {
        ("hidden", 0): np.array([[3, 0, 0], [0, 0, 6]]), ("logits", 0): np.array([[4, 0], [0, 0], [4, 4]]),
        ("hidden", 1): np.full(3, 99.0),
    }  # fmt: skip
    assert _scores(model, "taylor", gradients=[both])["hidden"] == [1, 0, 2]  # 3 and 4, 0, 6 and 8


def test_taylor_takes_channels_for_alike_when_nothing_changes_the_loss() -> None:
    assert _scores(_dense(), "taylor", gradients=[_of_products([[0, 0, 0]] * 2)])["hidden"] == [1, 1, 1]


def test_random_scores_are_those_of_the_seed_and_not_of_the_weights() -> None:
    first, again = _scores(_dense(), "random", seed=1), _scores(_dense(hidden=0 * HIDDEN), "random", seed=1)
    assert first == {name: one.expected for name, one in again.items()}
    other = importance.scores(channel_graph.follow(_dense()), _dense(), "random", seed=2)
    assert first != {name: one.tolist() for name, one in other.items()}
    assert all(((one >= 0) & (one < 1)).all() and len(set(one)) == len(one) for one in other.values())


@pytest.mark.parametrize("how", get_args(How))
def test_there_is_a_score_for_each_channel_of_each_group(how: How) -> None:
    found = importance.scores(channel_graph.follow(_normalized()), _normalized(), how)
    assert {name: one.shape for name, one in found.items()} == {
        "left": (2,), "right": (2,), "hidden": (2,), "logits": (1,),
    }  # fmt: skip
    assert all((one >= 0).all() for one in found.values())
