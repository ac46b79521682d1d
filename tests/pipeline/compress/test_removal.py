"""Removal through each kind of layer, against the original whose removed channels are held at zero."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pipeline.compress import channel_graph, removal, support
from pipeline.legacy_keras import load as load_keras
from tests.pipeline.compress import random_graphs, random_models, zoo

MAP, SEQUENCE, FLAT = (5, 4, 3), (4, 3), (6,)
# those that read the channels of others; an embedding reads words
_FOLLOWED = [kind for kind, row in support.TABLE.items() if not row.whole and kind != "Embedding"]


def _layers() -> Any:
    return load_keras().layers


def _model(inputs: Any, outputs: Any) -> Any:
    model = load_keras().Model(inputs, outputs)
    random_models.fill(model, 3)
    return model


def _removed(model: Any, **kept: list[int]) -> Any:
    """Return the model with some channels of some groups, proven equal to the masked original."""
    graph = channel_graph.follow(model)
    small, outcome = random_graphs.compare(model, graph, {name: np.array(some) for name, some in kept.items()})
    assert outcome.effect > random_graphs.TOLERANCE
    return small


def _around(kind: str) -> Any:
    """Return a model with a layer of that kind, `subject`, behind dense layers of six channels."""
    layers = _layers()
    shape, options = zoo.OPTIONS.get(kind, (MAP, {}))
    inputs = load_keras().Input((*shape[:-1], 3), name="samples")
    sides = ("left", "right") if kind in zoo.MERGING else ("left",)
    before = [layers.Dense(6, activation="tanh", name=side)(inputs) for side in sides]
    other = {"Reshape": {"target_shape": (-1, 6)}, "Softmax": {"axis": 1}, "ThresholdedReLU": {"theta": 0.1}}
    if kind == "BatchNormalization":
        after = layers.BatchNormalization(name=zoo.NAME)(before[0])
    else:
        after = zoo.placed(kind, options | other.get(kind, {}), before)
    after = layers.Flatten(name="flat")(after)
    return _model(inputs, layers.Dense(3, name="logits")(after))


@pytest.mark.parametrize("kind", _FOLLOWED)
def test_channels_are_removed_through_each_kind_of_layer_that_the_table_says_they_are_followed_through(
    kind: str,
) -> None:
    model = _around(kind)
    graph = channel_graph.follow(model)
    group = next(group for group in graph.removable if "left" in group.layers)
    kept = {group.name: np.arange(group.size)[:: 2 if group.size > 2 else 1][: max(1, group.size - 1)]}
    small, outcome = random_graphs.compare(model, graph, kept)
    subject = zoo.subject(model).name
    assert small.get_layer(subject).get_input_shape_at(0) != model.get_layer(subject).get_input_shape_at(0)
    assert outcome.removed == group.size - len(kept[group.name])
    assert outcome.effect > random_graphs.TOLERANCE


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN", "Bidirectional", "TimeDistributed", "MultiHeadAttention"])
def test_units_of_a_layer_with_several_weights_are_removed_from_all_of_them(kind: str) -> None:
    model = _around(kind)
    subject = zoo.subject(model).name
    small = _removed(model, **{subject: [1]})
    assert all(
        sum(one.shape) > sum(other.shape)
        for one, other in zip(model.get_layer(subject).weights, small.get_layer(subject).weights, strict=True)
        if kind != "MultiHeadAttention" or "output/bias" not in one.name
    )


def test_weights_that_stay_are_those_of_the_kept_channels_in_their_order() -> None:
    layers = _layers()
    inputs = load_keras().Input(MAP)
    x = layers.ReLU()(layers.BatchNormalization(name="norm")(layers.Conv2D(4, 3, name="conv")(inputs)))
    model = _model(inputs, layers.Dense(2, name="logits")(layers.Flatten()(x)))
    small = _removed(model, conv=[1, 3])
    kernel, bias = model.get_layer("conv").get_weights()
    assert np.array_equal(small.get_layer("conv").get_weights()[0], kernel[..., [1, 3]])
    assert np.array_equal(small.get_layer("conv").get_weights()[1], bias[[1, 3]])
    for one, other in zip(small.get_layer("norm").get_weights(), model.get_layer("norm").get_weights(), strict=True):
        assert np.array_equal(one, other[[1, 3]])
    # behind three by two places, each of which has four channels side by side
    rows = [4 * place + channel for place in range(6) for channel in (1, 3)]
    assert np.array_equal(small.get_layer("logits").get_weights()[0], model.get_layer("logits").get_weights()[0][rows])
    assert small.get_layer("conv").filters == 2


def test_units_are_taken_out_of_every_gate_of_an_lstm() -> None:
    layers = _layers()
    inputs = load_keras().Input(SEQUENCE)
    model = _model(inputs, layers.Dense(2)(layers.LSTM(3, name="lstm")(inputs)))
    small = _removed(model, lstm=[0, 2])
    columns = [3 * gate + unit for gate in range(4) for unit in (0, 2)]
    kernel, recurrent, bias = model.get_layer("lstm").get_weights()
    found = small.get_layer("lstm").get_weights()
    expected = (kernel[:, columns], recurrent[np.ix_([0, 2], columns)], bias[columns])
    assert all(map(np.array_equal, found, expected))


def _grouped() -> Any:
    inputs = load_keras().Input(MAP)
    x = _layers().Conv2D(8, 1, name="before")(inputs)
    x = _layers().Conv2D(4, 3, groups=2, padding="same", activation="sigmoid", name="grouped")(x)
    return _model(inputs, _layers().Dense(2)(_layers().GlobalAveragePooling2D()(x)))


def _channelwise() -> Any:
    inputs = load_keras().Input(MAP)
    x = _layers().Conv2D(4, 1, name="before")(inputs)
    x = _layers().Conv2D(8, 3, groups=4, padding="same", activation="sigmoid", name="grouped")(x)
    return _model(inputs, _layers().Dense(2)(_layers().GlobalAveragePooling2D()(x)))


def test_grouped_convolution_keeps_its_groups_and_loses_the_same_places_of_each() -> None:
    small = _removed(_grouped(), before=[0, 3], grouped=[1])
    layer = small.get_layer("grouped")
    assert (layer.groups, layer.filters, layer.kernel.shape) == (2, 2, (3, 3, 2, 2))


def test_grouped_convolution_loses_groups_when_each_has_one_channel() -> None:
    small = _removed(_channelwise(), before=[0, 3])
    layer = small.get_layer("grouped")
    assert (layer.groups, layer.filters, layer.kernel.shape) == (2, 4, (3, 3, 1, 4))


def _attention() -> Any:
    inputs = load_keras().Input(SEQUENCE)
    x = _layers().Dense(4, name="in")(inputs)
    x = _layers().Add()([x, _layers().MultiHeadAttention(3, 2, name="attention")(x, x)])
    return _model(inputs, _layers().Dense(2)(_layers().LayerNormalization()(x)))


def test_attention_loses_heads_and_what_goes_around_it_together() -> None:
    model = _attention()
    heads = next(group for group in channel_graph.follow(model).groups if group.size == 3)
    small = _removed(model, **{heads.name: [1], "in": [0, 1, 3]})
    layer = small.get_layer("attention")
    assert layer.get_config()["num_heads"] == 1
    assert [tuple(weight.shape) for weight in layer.weights] == [
        (3, 1, 2), (1, 2), (3, 1, 2), (1, 2), (3, 1, 2), (1, 2), (1, 2, 3), (3,),
    ]  # fmt: skip


def _shared(make: Callable[[], Any]) -> Any:
    one, other = (load_keras().Input(MAP, name=name) for name in ("one", "other"))
    shared, layers = make(), _layers()
    ends = [shared(layers.Conv2D(4, 1, name=f"before_{end.name}")(end)) for end in (one, other)]
    x = layers.Concatenate()([layers.GlobalMaxPooling2D(name=f"pool_{place}")(end) for place, end in enumerate(ends)])
    return _model([one, other], layers.Dense(2)(x))


@pytest.mark.parametrize(
    "make",
    [
        lambda: _layers().Conv2D(4, 2, name="shared"), lambda: _layers().BatchNormalization(name="shared"),
        lambda: _layers().Reshape((4, 5, 4), name="shared"), lambda: _layers().ReLU(name="shared"),
        lambda: _layers().PReLU(name="shared"), lambda: _layers().DepthwiseConv2D(2, name="shared"),
    ],
)  # fmt: skip
def test_layer_that_is_called_twice_loses_the_same_in_both_calls(make: Callable[[], Any]) -> None:
    model = _shared(make)
    graph = channel_graph.follow(model)
    kept = {group.name: np.array([0, 2]) for group in graph.removable}
    small, outcome = random_graphs.compare(model, graph, kept)
    assert outcome.effect > random_graphs.TOLERANCE
    assert small.get_layer("shared").get_output_shape_at(0) == small.get_layer("shared").get_output_shape_at(1)
    assert small.get_layer("before_one").filters == 2


def test_reshape_that_is_called_on_an_input_too_is_left_alone() -> None:
    layers, keras = _layers(), load_keras()
    one, other = keras.Input((4, 3), name="one"), keras.Input((4, 4), name="other")
    shared = layers.Reshape((2, 2, 4), name="shared")
    x = layers.Concatenate(axis=1)([shared(layers.Dense(4, name="before")(one)), shared(other)])
    graph = channel_graph.follow(_model([one, other], layers.Dense(2)(layers.GlobalMaxPooling2D()(x))))
    (group,) = [group for group in graph.groups if "before" in group.layers]
    assert group.reason == "shared (Reshape) is called at several places that do not agree"


def test_sequential_model_and_frozen_layers_come_out_as_they_went_in() -> None:
    keras, layers = load_keras(), _layers()
    model = keras.Sequential([keras.Input(FLAT), layers.Dense(4, name="hidden"), layers.Dense(2, name="logits")])
    random_models.fill(model, 5)
    model.get_layer("hidden").trainable = False
    small = _removed(model, hidden=[2])
    assert not small.get_layer("hidden").trainable
    assert small.get_layer("logits").trainable
    assert small.input_shape == (None, 6)


def test_lambda_stays_in_a_model_that_loses_channels_elsewhere() -> None:
    layers = _layers()
    inputs = load_keras().Input(FLAT)
    x = layers.Lambda(lambda values: 2 * values, name="double")(layers.Dense(4, name="whole")(inputs))
    small = _removed(_model(inputs, layers.Dense(2)(layers.Dense(3, name="hidden")(x))), hidden=[1])
    assert (small.get_layer("whole").units, small.get_layer("hidden").units) == (4, 1)


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        ({"nowhere": [0]}, "there is no group nowhere"),
        ({"hidden": []}, "the channels of hidden cannot all go"),
        ({"logits": [0]}, "logits: they are what the model answers"),
    ],
)
def test_channels_that_have_to_stay_are_refused(kept: dict[str, list[int]], said: str) -> None:
    layers = _layers()
    inputs = load_keras().Input(FLAT)
    model = _model(inputs, layers.Dense(2, name="logits")(layers.Dense(4, name="hidden")(inputs)))
    graph = channel_graph.follow(model)
    with pytest.raises(ValueError, match=said):
        removal.remove(model, graph, {name: np.array(some, dtype=np.int64) for name, some in kept.items()})
