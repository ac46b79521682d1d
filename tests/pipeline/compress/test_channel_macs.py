"""MACs and parameters at other widths are those that the smaller model is counted to have."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.compress import channel_graph, importance, removal, widths
from pipeline.legacy_keras import load as load_keras
from pipeline.measuring import footprint


def attention() -> Any:
    keras = load_keras()
    layers = keras.layers
    tokens = keras.Input((16,), dtype="int32")
    values = layers.Embedding(100, 32)(tokens)
    other = layers.Dense(24)(layers.MaxPooling1D(2)(values))
    values = layers.Add()([values, layers.MultiHeadAttention(4, 8, value_dim=6)(values, other)])
    values = layers.Add()([values, layers.Dense(32)(layers.Dense(64, "relu")(values))])
    return keras.Model(tokens, layers.Dense(3)(layers.GlobalAveragePooling1D()(values)))


def recurrent() -> Any:
    keras = load_keras()
    layers = keras.layers
    given = keras.Input((12, 8))
    values = layers.Bidirectional(layers.LSTM(32, return_sequences=True))(given)
    return keras.Model(given, layers.Dense(3)(layers.GRU(24)(values)))


def convolutional() -> Any:
    keras = load_keras()
    layers = keras.layers
    given = keras.Input((12, 12, 3))
    values = layers.BatchNormalization()(layers.Conv2D(16, 3, strides=2)(given))
    values = layers.SeparableConv2D(32, 3, padding="same")(values)
    values = layers.Concatenate()([values, layers.Conv2D(8, 1)(layers.DepthwiseConv2D(3, padding="same")(values))])
    return keras.Model(given, layers.Dense(3)(layers.Flatten()(layers.Conv2DTranspose(16, 2)(values))))


@pytest.mark.parametrize("build", [attention, recurrent, convolutional])
@pytest.mark.parametrize("share", [0.8, 0.5, 0.3])
def test_amounts_at_other_widths_are_counted_on_the_smaller_model(build: Any, share: float) -> None:
    model = build()
    graph = channel_graph.follow(model)
    assert graph.macs({}) == footprint.macs(model).total
    assert graph.parameters({}) == footprint.parameters(model)
    names = [layer.name for layer in model.layers]
    allowed = widths.allowed(graph, names, multiple=None, min_share=0.01, layers={})
    kept = widths.choose(
        graph, importance.scores(graph, model, "l2"), allowed, cost=graph.macs, budget=share * graph.macs({}),
        selection="global", unit="the MACs",
    )  # fmt: skip
    smaller = removal.remove(model, graph, kept)
    now = {name: len(stays) for name, stays in kept.items()}
    assert graph.macs(now) == footprint.macs(smaller).total <= share * graph.macs({})
    assert graph.parameters(now) == footprint.parameters(smaller)
