"""The peak of live tensors, by hand."""

from __future__ import annotations

from typing import Any

from pipeline.doctor import activations
from pipeline.legacy_keras import load as load_keras


def test_chain_needs_what_goes_into_a_layer_and_what_comes_out() -> None:
    keras = load_keras()
    inputs = keras.Input((10,))
    values = keras.layers.Dense(40)(inputs)
    model = keras.Model(inputs, keras.layers.Dense(5)(keras.layers.Dense(30)(values)))
    assert activations.peak(model) == 40 + 30


def test_branch_is_kept_until_it_is_read() -> None:
    keras = load_keras()
    inputs = keras.Input((10,))
    side = keras.layers.Dense(20)(inputs)
    values = keras.layers.Dense(20)(keras.layers.Dense(50)(keras.layers.Dense(50)(side)))
    model = keras.Model(inputs, keras.layers.Add()([side, values]))
    assert activations.peak(model) == 20 + 50 + 50


def test_layers_that_work_in_place_and_views_take_nothing() -> None:
    keras = load_keras()
    inputs = keras.Input((4, 4, 2))
    values: Any = keras.layers.Conv2D(3, 1)(inputs)
    for layer in (keras.layers.BatchNormalization(), keras.layers.ReLU(), keras.layers.Dropout(0.5),
                  keras.layers.Flatten()):  # fmt: skip
        values = layer(values)
    model = keras.Model(inputs, keras.layers.Dense(2)(values))
    assert activations.peak(model) == 4 * 4 * 2 + 4 * 4 * 3


def test_nothing_is_said_of_shapes_that_are_not_known() -> None:
    keras = load_keras()
    inputs = keras.Input((None, 4))
    assert activations.peak(keras.Model(inputs, keras.layers.LSTM(3)(inputs))) is None
