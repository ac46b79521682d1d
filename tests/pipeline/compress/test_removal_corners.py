"""Removal around what is seldom met: masks, frozen parts, uneven directions, names with dots, ends by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.compress import channel_graph, removal
from pipeline.legacy_keras import load as load_keras
from tests.pipeline.compress import masked, random_graphs, random_models

MAP, SEQUENCE, FLAT = (5, 4, 3), (4, 3), (6,)


def _layers() -> Any:
    return load_keras().layers


def _model(inputs: Any, outputs: Any) -> Any:
    model = load_keras().Model(inputs, outputs)
    random_models.fill(model, 3)
    return model


def _halved(model: Any) -> tuple[channel_graph.ChannelGraph, Any]:
    """Return the graph and the model with half of each group's channels, proven equal to the masked original."""
    graph = channel_graph.follow(model)
    kept = {group.name: np.arange(group.size)[: max(1, group.size // 2)] for group in graph.removable}
    small, _ = random_graphs.compare(model, graph, kept)
    return graph, small


def _whole(graph: channel_graph.ChannelGraph, layer: str) -> bool:
    return all(group.reason for group in graph.groups if layer in group.layers)


def test_mask_of_attention_stays_as_large_as_what_it_masks() -> None:
    inputs = load_keras().Input(SEQUENCE)
    mask = _layers().Dense(4, activation="sigmoid", name="mask")(inputs)
    x = _layers().MultiHeadAttention(2, 2, name="attention")(inputs, inputs, attention_mask=mask)
    graph, small = _halved(_model(inputs, _layers().Dense(2)(_layers().Flatten()(x))))
    assert _whole(graph, "mask")
    assert small.get_layer("mask").units == 4
    assert small.get_layer("attention").get_config()["num_heads"] == 1


def test_mask_of_softmax_stays_as_large_as_what_it_masks() -> None:
    inputs = load_keras().Input(SEQUENCE)
    mask = _layers().Dense(4, activation="sigmoid", name="mask")(inputs)
    x = _layers().Softmax(axis=1, name="shares")(_layers().Dense(4, name="hidden")(inputs), mask=mask)
    graph, small = _halved(_model(inputs, _layers().Dense(2)(_layers().Flatten()(x))))
    assert _whole(graph, "mask")
    assert small.get_layer("mask").units == 4


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN", "Bidirectional"])
def test_channels_that_become_steps_of_a_recurrent_layer_stay(kind: str) -> None:
    inputs, layers = load_keras().Input(SEQUENCE), _layers()
    recurrent = layers.Bidirectional(layers.GRU(4), name="steps") if kind == "Bidirectional" else None
    x = layers.Permute((2, 1))(layers.Dense(6, name="before")(inputs))
    x = (recurrent or getattr(layers, kind)(4, name="steps"))(x)
    graph, small = _halved(_model(inputs, layers.Dense(2)(x)))
    assert _whole(graph, "before")
    assert small.get_layer("steps").input_shape == (None, 6, 4)


def test_embedding_that_began_with_given_vectors_loses_columns_of_them() -> None:
    keras = load_keras()
    table = np.random.default_rng(0).normal(size=(7, 4)).astype(np.float32)
    inputs = keras.Input((5,), dtype="int32")
    begun = keras.initializers.Constant(table)
    x = _layers().Embedding(7, 4, embeddings_initializer=begun, name="words")(inputs)
    model = keras.Model(inputs, _layers().Dense(2)(_layers().GlobalAveragePooling1D()(x)))
    small = removal.remove(model, channel_graph.follow(model), {"words": np.array([1, 3])})
    assert np.array_equal(small.get_layer("words").get_weights()[0], table[:, [1, 3]])
    again = keras.Model.from_config(small.get_config())
    assert again.get_layer("words").weights[0].shape == (7, 2)


def test_attention_that_answers_with_several_dimensions_comes_through() -> None:
    inputs = load_keras().Input(SEQUENCE)
    x = _layers().Dense(4, name="before")(inputs)
    x = _layers().MultiHeadAttention(2, 3, output_shape=(3, 4), name="attention")(x, x)
    _, small = _halved(_model(inputs, _layers().Dense(2)(_layers().Flatten()(x))))
    assert small.get_layer("attention").output_shape == (None, 4, 3, 4)


@pytest.mark.parametrize("merge", ["concat", None])
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_directions_of_different_sizes_come_through(kind: str, merge: str | None) -> None:
    layers, inputs = _layers(), load_keras().Input(SEQUENCE)
    back = getattr(layers, kind)(3, go_backwards=True)
    both = layers.Bidirectional(layers.LSTM(4), backward_layer=back, merge_mode=merge, name="both")
    x = both(layers.Dense(6, name="before")(inputs))
    _, small = _halved(_model(inputs, layers.Dense(2)(x if merge else layers.Concatenate()(x))))
    assert small.get_layer("both").forward_layer.units in (2, 4)
    assert small.get_layer("both").backward_layer.units in (1, 3)


def _flags(model: Any) -> list[tuple[str, bool]]:
    return [(layer.name, layer.trainable) for layer in model._flatten_layers(include_self=False)]


def _frozen_inside(kind: str) -> Any:
    keras, layers = load_keras(), _layers()
    inputs = keras.Input(SEQUENCE)
    x = layers.Dense(4, name="before")(inputs)
    if kind == "distributed":
        inner = layers.Dense(6, name="inner")
        x = layers.TimeDistributed(inner, name="outer")(x)
    elif kind == "direction":
        outer = layers.Bidirectional(layers.GRU(4, return_sequences=True), name="outer")
        x, inner = outer(x), outer.backward_layer
    else:
        given, inner = keras.Input(x.shape[1:]), layers.Dense(4, name="inner")
        nested = keras.Model(given, layers.Dense(4, name="learns")(inner(given)), name="outer")
        x = layers.Add()([nested(x), nested(layers.Dense(4, name="other")(inputs))])
        inner = nested if kind == "nested whole" else inner
    x = layers.Dense(6, name="after")(x)
    model = keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x)))
    random_models.fill(model, 3)
    model.trainable = True
    inner.trainable = False
    return model


@pytest.mark.parametrize("kind", ["distributed", "direction", "nested", "nested whole"])
def test_layer_that_is_frozen_inside_another_stays_frozen_alone(kind: str) -> None:
    model = _frozen_inside(kind)
    before = _flags(model)
    _, small = _halved(model)
    assert _flags(small) == before
    assert len(small.trainable_weights) == len(model.trainable_weights) < len(model.weights)


def test_model_that_is_frozen_as_a_whole_stays_so() -> None:
    inputs = load_keras().Input(MAP)
    x = _layers().BatchNormalization()(_layers().Conv2D(4, 3, name="conv")(inputs))
    model = _model(inputs, _layers().Dense(2)(_layers().GlobalAveragePooling2D()(x)))
    model.trainable = False
    small = removal.remove(model, channel_graph.follow(model), {"conv": np.array([0, 2])})
    assert small.get_layer("conv").filters == 2
    assert small.trainable_weights == []


def test_dropout_of_whole_rows_learns_behind_channels_that_go() -> None:
    layers, inputs = _layers(), load_keras().Input(SEQUENCE)
    x = layers.Conv1D(16, 2, name="conv")(inputs)
    x = layers.Dropout(0.5, noise_shape=(None, 1, 16), name="noise")(x)
    model = _model(inputs, layers.Dense(2)(layers.GlobalAveragePooling1D()(layers.Dense(4, name="hidden")(x))))
    graph = channel_graph.follow(model)
    small = removal.remove(model, graph, {group.name: np.arange(2) for group in graph.removable})
    assert small.get_layer("hidden").units == 2
    assert small.get_layer("noise").noise_shape[-1] == small.get_layer("conv").filters
    random_graphs.trains(small)


def test_inputs_and_outputs_by_name_stay_so() -> None:
    keras, layers = load_keras(), _layers()
    ends = {name: keras.Input(FLAT, name=name) for name in ("second", "first")}
    x = layers.Dense(4, name="hidden")(layers.Subtract()([ends["first"], ends["second"]]))
    model = keras.Model(ends, {"label": layers.Dense(2, name="one")(x), "amount": layers.Dense(3, name="two")(x)})
    random_models.fill(model, 3)
    small = removal.remove(model, channel_graph.follow(model), {"hidden": np.array([1, 2])})
    random = np.random.default_rng(0)
    given = {name: random.normal(size=(3, *FLAT)).astype(np.float32) for name in ends}
    found = small(given)
    assert isinstance(small.input, dict)
    assert {name: end.shape for name, end in found.items()} == {"label": (3, 2), "amount": (3, 3)}
    ordered = masked.outputs(model, small, [given[one] for one in model.input_names])
    expected = dict(zip(model.output_names, ordered, strict=True))
    assert np.allclose(found["label"], expected["one"], atol=1e-5)
    assert np.allclose(found["amount"], expected["two"], atol=1e-5)


def _named(*names: str) -> Any:
    inputs = load_keras().Input(SEQUENCE)
    x = _layers().Dense(4, name=names[0])(inputs)
    for name in names[1:]:
        x = _layers().MultiHeadAttention(2, 2, name=name)(x, x)
    return _model(inputs, _layers().Dense(2, name="logits")(_layers().Flatten()(x)))


@pytest.mark.parametrize("names", [("before", "blk.1"), ("a.2", "a"), ("a.2", "a", "a.1"), ("blk.1", "blk.1.2", "blk")])
def test_groups_have_names_of_their_own_when_layers_have_dots_in_theirs(names: tuple[str, ...]) -> None:
    model = _named(*names)
    graph, small = _halved(model)
    called = [group.name for group in graph.groups]
    assert len(set(called)) == len(called) == 2 * len(names)
    assert all(group.name not in names or group.name in (*group.layers, *group.readers) for group in graph.groups)
    assert graph.parameters({}) == model.count_params() > small.count_params()
