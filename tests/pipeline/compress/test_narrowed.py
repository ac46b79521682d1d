"""The graph of a smaller model, held against that model itself, over two rounds of removal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from pipeline.compress import channel_graph, removal
from pipeline.compress.channel_graph import ChannelGraph
from pipeline.legacy_keras import load as load_keras
from pipeline.measuring.macs import macs as count_macs
from tests.pipeline.compress import random_models


def _layers() -> Any:
    return load_keras().layers


def _model(inputs: Any, x: Any) -> Any:
    model = load_keras().Model(inputs, _layers().Dense(2, name="logits")(_layers().Flatten()(x)))
    random_models.fill(model, 3)
    return model


def _plain() -> Any:
    inputs = load_keras().Input((4, 4, 3))
    x = _layers().BatchNormalization()(_layers().Conv2D(8, 3, padding="same", name="conv")(inputs))
    return _model(inputs, _layers().SeparableConv2D(8, 2, name="separable")(x))


def _grouped(groups: int) -> Any:
    inputs = load_keras().Input((4, 4, 3))
    x = _layers().Conv2D(16, 1, name="before")(inputs)
    return _model(inputs, _layers().Conv2D(16, 3, groups=groups, name="grouped")(x))


def _group_norm(groups: int) -> Any:
    inputs = load_keras().Input((4, 4, 3))
    x = _layers().Conv2D(16, 1, name="before")(inputs)
    return _model(inputs, _layers().GroupNormalization(groups, name="norm")(x))


def _attended() -> Any:
    inputs = load_keras().Input((4, 3))
    x = _layers().Dense(8, name="before")(inputs)
    x = _layers().MultiHeadAttention(4, 2, output_shape=8, name="attention")(x, x)
    return _model(inputs, _layers().Bidirectional(_layers().LSTM(8), name="both")(x))


def _every_other(graph: ChannelGraph) -> dict[str, np.ndarray]:
    return {group.name: np.arange(group.size)[::2] for group in graph.removable}


def _widths(kept: Mapping[str, np.ndarray]) -> dict[str, int]:
    return {name: len(places) for name, places in kept.items()}


_BUILDS = pytest.mark.parametrize(
    "build",
    [
        _plain, _attended, lambda: _grouped(2), lambda: _grouped(4), lambda: _grouped(16), lambda: _group_norm(1),
        lambda: _group_norm(4), lambda: _group_norm(16),
    ],
    ids=["plain", "attended", "groups 2", "groups 4", "groups 16", "norm 1", "norm 4", "norm 16"],
)  # fmt: skip


@_BUILDS
def test_narrowed_graph_counts_what_the_smaller_model_has_in_both_rounds(build: Callable[[], Any]) -> None:
    model = build()
    graph, removed = channel_graph.follow(model), 0
    for _ in range(2):
        kept = _every_other(graph)
        removed += sum(graph.full[name] - width for name, width in _widths(kept).items())
        model = removal.remove(model, graph, kept)
        before, graph = graph, channel_graph.narrowed(graph, kept)
        assert graph.full == before.full | _widths(kept)
        assert graph.parameters({}) == before.parameters(_widths(kept)) == model.count_params()
        assert graph.macs({}) == before.macs(_widths(kept)) == count_macs(model).total
        for layer in graph.layers:
            assert layer.macs == sum(
                one.macs or 0 for one in count_macs(model).layers if one.name.partition("/")[0] == layer.name
            )
            weights = model.get_layer(layer.name).weights
            assert [weight.shape for weight in layer.weights] == [
                tuple(weights[one.index].shape) for one in layer.weights
            ]
    assert removed > 0


@_BUILDS
def test_two_rounds_leave_what_one_round_of_both_leaves(build: Callable[[], Any]) -> None:
    model = build()
    graph = channel_graph.follow(model)
    first = _every_other(graph)
    after = channel_graph.narrowed(graph, first)
    second = _every_other(after)
    both = {name: places[second.get(name, np.arange(len(places)))] for name, places in first.items()}
    twice = removal.remove(removal.remove(model, graph, first), after, second)
    once = removal.remove(model, graph, both)
    assert all(map(np.array_equal, twice.get_weights(), once.get_weights()))
    assert twice.get_config()["layers"] == once.get_config()["layers"]


@pytest.mark.parametrize("build", [_plain, _attended, lambda: _grouped(2), lambda: _group_norm(4)])
def test_narrowed_graph_says_of_the_smaller_model_what_following_it_anew_says(build: Callable[[], Any]) -> None:
    model = build()
    graph = channel_graph.follow(model)
    kept = _every_other(graph)
    found, anew = channel_graph.narrowed(graph, kept), channel_graph.follow(removal.remove(model, graph, kept))
    said, expected = (
        [(one.name, one.layers, one.readers, one.size, one.multiplicity, one.reason) for one in each.groups]
        for each in (found, anew)
    )
    assert said == expected
    assert [(one.name, one.macs) for one in found.layers] == [(one.name, one.macs) for one in anew.layers]
    for width in (1, 2):
        widths = dict.fromkeys((group.name for group in found.removable), width)
        assert found.parameters(widths) == anew.parameters(widths)
        assert found.macs(widths) == anew.macs(widths)


def test_channels_of_a_grouped_convolution_go_together_still_when_each_group_has_one_left() -> None:
    model = _grouped(2)
    graph = channel_graph.follow(model)
    kept = {"before": np.array([3]), "grouped": np.array([0, 2])}
    small, found = removal.remove(model, graph, kept), channel_graph.narrowed(graph, kept)
    assert {one.name: (one.size, one.multiplicity) for one in found.groups} == {
        "before": (1, 2), "grouped": (2, 2), "logits": (2, 1),
    }  # fmt: skip
    smallest = removal.remove(small, found, {"grouped": np.array([1])})
    assert (smallest.get_layer("grouped").groups, smallest.get_layer("grouped").kernel.shape) == (2, (3, 3, 1, 2))
    kernel = model.get_layer("grouped").get_weights()[0]
    assert np.array_equal(smallest.get_layer("grouped").get_weights()[0], kernel[:, :, [3]][..., [2, 10]])


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        ({"nowhere": [0]}, "there is no group nowhere"),
        ({"conv": []}, "the channels of conv cannot all go"),
        ({"logits": [0]}, "logits: they are what the model answers"),
    ],
)
def test_graph_is_not_narrowed_by_channels_that_have_to_stay(kept: dict[str, list[int]], said: str) -> None:
    graph = channel_graph.follow(_plain())
    with pytest.raises(ValueError, match=said):
        channel_graph.narrowed(graph, {name: np.array(some, dtype=np.int64) for name, some in kept.items()})
