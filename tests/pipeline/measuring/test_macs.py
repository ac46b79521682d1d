from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from pipeline import legacy_keras
from pipeline.measuring import footprint


@pytest.fixture(scope="module")
def keras() -> ModuleType:
    return legacy_keras.load()


def _macs(keras: Any, shape: tuple[int | None, ...], layer: Any) -> footprint.Macs:
    entry = keras.Input(shape)
    return footprint.macs(keras.Model(entry, layer(entry)))


@pytest.mark.parametrize(
    ("shape", "kind", "arguments", "expected"),
    [
        ((16, 4), "Conv1D", {"filters": 8, "kernel_size": 3, "strides": 2}, 7 * 3 * 4 * 8),
        ((8, 8, 4), "Conv2D", {"filters": 6, "kernel_size": 3, "padding": "same"}, 64 * 9 * 4 * 6),
        ((8, 8, 4), "Conv2D", {"filters": 6, "kernel_size": 3, "groups": 2}, 36 * 9 * 2 * 6),
        ((4, 8, 8), "Conv2D", {"filters": 6, "kernel_size": 3, "data_format": "channels_first"}, 36 * 9 * 4 * 6),
        ((8, 8, 4), "Conv2D", {"filters": 6, "kernel_size": 3, "dilation_rate": 2}, 16 * 9 * 4 * 6),
        ((4, 4, 4, 2), "Conv3D", {"filters": 3, "kernel_size": 2}, 27 * 8 * 2 * 3),
        ((5, 4), "Conv1DTranspose", {"filters": 3, "kernel_size": 3, "strides": 2}, 5 * 3 * 4 * 3),
        ((5, 5, 4), "Conv2DTranspose", {"filters": 3, "kernel_size": 3, "strides": 2}, 25 * 9 * 4 * 3),
        ((8, 8, 4), "DepthwiseConv2D", {"kernel_size": 3, "depth_multiplier": 2}, 36 * 9 * 4 * 2),
        ((16, 4), "SeparableConv1D", {"filters": 8, "kernel_size": 3}, 14 * (3 * 4 + 4 * 8)),
        ((8, 8, 4), "SeparableConv2D", {"filters": 8, "kernel_size": 3}, 36 * (9 * 4 + 4 * 8)),
        ((10,), "Dense", {"units": 7}, 70),
        ((6, 10), "Dense", {"units": 7}, 6 * 70),
        ((6, 10), "LSTM", {"units": 5}, 6 * 4 * (10 * 5 + 5 * 5)),
        ((6, 10), "GRU", {"units": 5}, 6 * 3 * (10 * 5 + 5 * 5)),
        ((6, 10), "SimpleRNN", {"units": 5}, 6 * (10 * 5 + 5 * 5)),
        ((8, 8, 4), "BatchNormalization", {}, 0),
        ((8, 8, 4), "MaxPooling2D", {}, 0),
    ],
)
def test_macs_of_a_layer_are_counted_as_by_hand(
    keras: Any, shape: tuple[int, ...], kind: str, arguments: dict[str, object], expected: int
) -> None:
    found = _macs(keras, shape, getattr(keras.layers, kind)(**arguments))
    assert (found.total, found.unknown) == (expected, ())
    assert [layer.kind for layer in found.layers] == [kind]


def test_macs_of_a_bidirectional_layer_are_those_of_both_directions(keras: Any) -> None:
    found = _macs(keras, (6, 10), keras.layers.Bidirectional(keras.layers.LSTM(5)))
    assert (found.total, found.unknown) == (2 * 6 * 4 * 75, ())


def test_macs_of_attention_hold_projections_and_both_products(keras: Any) -> None:
    layer = keras.layers.MultiHeadAttention(num_heads=2, key_dim=3, value_dim=4)
    query, value = keras.Input((5, 8)), keras.Input((7, 8))
    found = footprint.macs(keras.Model([query, value], layer(query, value)))
    projections = 5 * 8 * 6 + 7 * 8 * 6 + 7 * 8 * 8 + 5 * 8 * 8
    assert (found.total, found.unknown) == (projections + 5 * 7 * 2 * (3 + 4), ())


def test_macs_count_a_shared_layer_twice_when_it_is_called_twice(keras: Any) -> None:
    entry, dense = keras.Input((4,)), keras.layers.Dense(4, name="shared")
    found = footprint.macs(keras.Model(entry, dense(dense(entry))))
    assert found.layers == (footprint.LayerMacs("shared", "Dense", 32),)


def test_macs_name_the_layers_of_a_model_within_the_model(keras: Any) -> None:
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="dense")], name="inner")
    model = keras.Sequential([keras.Input((4,)), inner, keras.layers.Dense(2, name="logits")])
    found = footprint.macs(model)
    assert [(layer.name, layer.macs) for layer in found.layers] == [("inner/dense", 12), ("logits", 6)]
    assert footprint.parameters(model) == 12 + 3 + 6 + 2


def test_macs_list_what_they_do_not_know_and_count_the_rest(keras: Any) -> None:
    class Own(keras.layers.Dense):  # type: ignore[misc]
        def call(self, inputs: Any) -> Any:
            return super().call(super().call(inputs))

    import tensorflow as tf

    entry = keras.Input((4, 4))
    x = keras.layers.Dense(4, name="known")(entry) + 1.0
    x = tf.matmul(Own(4, name="own")(x), x)
    found = footprint.macs(keras.Model(entry, x))
    assert found.total == 64
    assert set(found.unknown) == {"own", "tf.linalg.matmul"}


def test_macs_of_an_operation_follow_what_it_calls_and_not_its_name(keras: Any) -> None:
    import tensorflow as tf
    from tf_keras.src.layers.core import tf_op_layer

    entry = keras.Input((4, 4))
    calls = {"plus": tf.math.add, "reshape": tf.linalg.matmul}  # as an imported model's operations are called
    x = entry
    for name, function in calls.items():
        x = tf_op_layer.TFOpLambda(function, name=name)(x, x)
    found = footprint.macs(keras.Model(entry, x))
    assert [(layer.name, layer.macs) for layer in found.layers] == [("plus", 0), ("reshape", None)]


def test_macs_are_unknown_when_a_sequence_has_no_fixed_length(keras: Any) -> None:
    found = _macs(keras, (None, 10), keras.layers.LSTM(5, name="lstm"))
    assert (found.total, found.unknown) == (0, ("lstm",))


def test_macs_are_unknown_when_the_model_has_no_graph(keras: Any) -> None:
    class Subclassed(keras.Model):  # type: ignore[misc]
        pass

    assert footprint.macs(Subclassed(name="mine")).unknown == ("mine",)
