"""Which channels go together, which layers read them, and why others stay, worked out by hand for small models."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from pipeline.compress import channel_graph
from pipeline.compress.channel_graph import ChannelGraph, Group
from pipeline.legacy_keras import load as load_keras

MAP, SEQUENCE, FLAT = (8, 8, 3), (6, 3), (5,)


def _layers() -> Any:
    return load_keras().layers


def _input(shape: tuple[int, ...] = MAP, **options: Any) -> Any:
    return load_keras().Input(shape, name="samples", **options)


def _graph(inputs: Any, x: Any) -> ChannelGraph:
    """Return the graph of a model that ends in a dense layer, `logits`."""
    layers = _layers()
    if len(x.shape) > 2:
        x = layers.Flatten(name="flat")(x)
    return channel_graph.follow(load_keras().Model(inputs, layers.Dense(3, name="logits")(x)))


def _with(graph: ChannelGraph, layer: str) -> Group:
    """Return the only group of a layer's outputs."""
    (found,) = [group for group in graph.groups if layer in group.layers]
    return found


def _reason(graph: ChannelGraph, layer: str) -> str:
    return _with(graph, layer).reason


def test_convolution_its_norm_and_its_reader_are_one_group() -> None:
    layers, inputs = _layers(), _input()
    x = layers.Conv2D(4, 3, name="conv")(inputs)
    x = layers.ReLU(name="relu")(layers.BatchNormalization(name="norm")(x))
    graph = _graph(inputs, layers.GlobalAveragePooling2D(name="pool")(x))
    group = _with(graph, "conv")
    assert (group.name, group.layers, group.readers) == ("conv", ("conv", "norm"), ("logits",))
    assert (group.size, group.multiplicity, group.reason) == (4, 1, "")
    assert graph.full == {"conv": 4, "logits": 3}
    assert [one.name for one in graph.removable] == ["conv"]


def test_numbers_at_other_widths_are_those_counted_by_hand() -> None:
    layers, inputs = _layers(), _input()
    x = layers.BatchNormalization(name="norm")(layers.Conv2D(4, 3, padding="same", name="conv")(inputs))
    graph = _graph(inputs, x)
    # kernel and bias, four numbers a channel, and a kernel behind 8 x 8 places
    for width in (4, 3, 1):
        widths = {"conv": width}
        assert graph.parameters(widths) == (27 * width + width) + 4 * width + (64 * width * 3 + 3)
        assert graph.macs(widths) == 64 * 27 * width + 64 * width * 3
    assert graph.parameters({}) == graph.parameters({"conv": 4})


def test_what_a_flattened_map_is_read_by_has_each_channel_at_every_place() -> None:
    layers, inputs = _layers(), _input((2, 2, 3))
    graph = _graph(inputs, layers.Conv2D(5, 1, name="conv")(inputs))
    (reader,) = [layer for layer in graph.layers if layer.name == "logits"]
    assert reader.inputs is not None
    assert [reader.inputs.at(graph.full | {"conv": width}) for width in (5, 2)] == [20, 8]
    (kernel,) = [weight for weight in reader.weights if weight.name == "kernel"]
    assert kernel.axes[0] is not None
    assert np.array_equal(kernel.axes[0], np.tile(_with(graph, "conv").ids, 4))


def test_ends_of_a_residual_block_are_one_group_and_its_inside_another() -> None:
    layers, inputs = _layers(), _input()
    x = layers.Conv2D(8, 3, padding="same", name="stem")(inputs)
    inner = layers.Conv2D(4, 3, padding="same", name="inner")(x)
    end = layers.Conv2D(8, 3, padding="same", name="end")(inner)
    graph = _graph(inputs, layers.Add(name="add")([x, end]))
    assert _with(graph, "stem").layers == ("stem", "end")
    assert set(_with(graph, "stem").readers) == {"inner", "logits"}
    assert (_with(graph, "inner").layers, _with(graph, "inner").readers) == (("inner",), ("end",))


@pytest.mark.parametrize("kind", ["Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum"])
def test_branches_that_meet_element_by_element_lose_the_same_channels(kind: str) -> None:
    layers, inputs = _layers(), _input(FLAT)
    sides = [layers.Dense(4, name=name)(inputs) for name in ("left", "right")]
    assert _with(_graph(inputs, getattr(layers, kind)()(sides)), "left").layers == ("left", "right")


def test_branch_that_meets_an_input_stays_whole() -> None:
    layers, inputs = _layers(), _input(FLAT)
    graph = _graph(inputs, layers.Add(name="meet")([inputs, layers.Dense(5, name="side")(inputs)]))
    assert _reason(graph, "side") == "meet (Add) computes them together with others that stay"


def test_concatenated_branches_keep_groups_of_their_own() -> None:
    layers, inputs = _layers(), _input(FLAT)
    sides = [layers.Dense(width, name=name)(inputs) for name, width in (("left", 4), ("right", 2))]
    graph = _graph(inputs, layers.Concatenate()([*sides, inputs]))
    assert [(group.name, group.layers, group.size) for group in graph.removable] == [
        ("left", ("left",), 4), ("right", ("right",), 2),
    ]  # fmt: skip
    (reader,) = [layer for layer in graph.layers if layer.name == "logits"]
    assert reader.inputs is not None
    assert reader.inputs.at(graph.full | {"left": 1}) == 1 + 2 + 5


def test_squeeze_and_excite_weighs_the_channels_that_it_reads() -> None:
    layers, inputs = _layers(), _input()
    x = layers.Conv2D(8, 3, name="conv")(inputs)
    weights = layers.Dense(2, activation="relu", name="squeeze")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    weights = layers.Dense(8, activation="sigmoid", name="excite")(weights)
    graph = _graph(inputs, layers.Multiply()([x, weights]))
    assert _with(graph, "conv").layers == ("conv", "excite")
    assert _with(graph, "conv").readers == ("squeeze", "logits")
    assert _with(graph, "squeeze").readers == ("excite",)


def test_depthwise_convolution_goes_with_the_channels_that_it_reads() -> None:
    layers, inputs = _layers(), _input()
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise")(layers.Conv2D(4, 1, name="conv")(inputs))
    graph = _graph(inputs, x)
    group = _with(graph, "conv")
    assert (group.layers, group.size, group.reason) == (("conv", "depthwise"), 4, "")
    (layer,) = [layer for layer in graph.layers if layer.name == "depthwise"]
    assert layer.outputs is not None
    assert layer.outputs.at(graph.full | {"conv": 3}) == 6


def test_depthwise_convolution_of_the_input_stays() -> None:
    layers, inputs = _layers(), _input()
    graph = _graph(inputs, layers.DepthwiseConv2D(3, name="depthwise")(inputs))
    said = "depthwise (DepthwiseConv2D) gives each channel of its input, which stays, filters of its own"
    assert _reason(graph, "depthwise") == said


def test_groups_of_a_convolution_lose_as_many_channels_each() -> None:
    layers, inputs = _layers(), _input()
    x = layers.Conv2D(8, 3, groups=2, name="grouped")(layers.Conv2D(6, 1, name="before")(inputs))
    graph = _graph(inputs, x)
    assert [(one.name, one.size, one.multiplicity) for one in graph.removable] == [("before", 3, 2), ("grouped", 4, 2)]


def test_separable_convolution_makes_channels_of_its_own() -> None:
    layers, inputs = _layers(), _input()
    x = layers.SeparableConv2D(4, 3, name="separable")(layers.Conv2D(6, 1, name="before")(inputs))
    graph = _graph(inputs, x)
    assert (_with(graph, "separable").layers, _with(graph, "before").readers) == (("separable",), ("separable",))


def test_normalization_of_groups_loses_as_many_channels_of_each() -> None:
    layers, inputs = _layers(), _input()
    graph = _graph(inputs, layers.GroupNormalization(2, name="norm")(layers.Conv2D(6, 1, name="conv")(inputs)))
    group = _with(graph, "conv")
    assert (group.layers, group.size, group.multiplicity) == (("conv", "norm"), 3, 2)


def test_heads_of_attention_are_a_group_and_its_outputs_another() -> None:
    layers, inputs = _layers(), _input(SEQUENCE)
    x = layers.Dense(4, name="before")(inputs)
    graph = _graph(inputs, layers.MultiHeadAttention(3, 2, name="attention")(x, x))
    sizes = sorted(group.size for group in graph.removable)
    assert sizes == [3, 4, 4]
    assert (_with(graph, "before").layers, _with(graph, "before").readers) == (("before",), ("attention",))


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN"])
def test_units_of_a_recurrent_layer_are_a_group_that_it_also_reads(kind: str) -> None:
    layers, inputs = _layers(), _input(SEQUENCE)
    graph = _graph(inputs, getattr(layers, kind)(4, name="recurrent")(inputs))
    group = _with(graph, "recurrent")
    assert (group.layers, group.readers, group.size, group.reason) == (("recurrent",), ("logits",), 4, "")


@pytest.mark.parametrize(("merge", "each"), [("concat", 2), ("sum", 1), ("mul", 1), ("ave", 1)])
def test_both_directions_of_a_recurrent_layer_lose_the_same_units(merge: str, each: int) -> None:
    layers, inputs = _layers(), _input(SEQUENCE)
    graph = _graph(inputs, layers.Bidirectional(layers.LSTM(4), merge_mode=merge, name="both")(inputs))
    assert [(one.name, one.size, one.multiplicity) for one in graph.removable] == [("both", 4, each)]


def test_embedding_and_what_is_added_to_it_are_one_group() -> None:
    layers, inputs = _layers(), _input((6,), dtype="int32")
    words, places = (layers.Embedding(9, 4, name=name)(inputs) for name in ("words", "places"))
    assert _with(_graph(inputs, words + places), "words").layers == ("words", "places")


def test_layer_that_is_called_twice_unites_what_comes_to_it() -> None:
    layers, inputs = _layers(), _input(FLAT)
    shared = layers.Dense(4, name="shared")
    sides = [layers.Dense(6, name=name)(inputs) for name in ("left", "right")]
    graph = _graph(inputs, layers.Concatenate()([shared(side) for side in sides]))
    assert (set(_with(graph, "left").layers), _with(graph, "left").readers) == ({"left", "right"}, ("shared",))
    assert (_with(graph, "shared").size, _with(graph, "shared").reason) == (4, "")


def test_layer_that_reads_an_input_and_channels_keeps_the_channels() -> None:
    layers, inputs = _layers(), _input(FLAT)
    shared = layers.Dense(4, name="shared")
    graph = _graph(inputs, layers.Add()([shared(inputs), shared(layers.Dense(5, name="side")(inputs))]))
    assert _reason(graph, "side") == "shared (Dense) is called at several places that do not agree"
    assert _reason(graph, "shared") == ""


def test_outputs_and_inputs_stay() -> None:
    layers, inputs = _layers(), _input(FLAT)
    hidden = layers.Dense(4, name="hidden")(inputs)
    model = load_keras().Model(inputs, [hidden, layers.Dense(2, name="logits")(hidden)])
    graph = channel_graph.follow(model)
    assert {group.name: group.reason for group in graph.groups} == {
        "hidden": "they are what the model answers", "logits": "they are what the model answers",
    }  # fmt: skip
    assert graph.removable == ()


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("Lambda", "subject (Lambda) reads them: nobody knows what its function makes of them"),
        ("Dot", "subject (Dot) reads them: it computes over all of them at once"),
        ("Softmax", "subject (Softmax) makes shares of all of them"),
        ("softmax", "subject (Activation) reads them: the function softmax looks at all of them at once"),
        ("inside", "the function softmax of before (Dense) looks at all channels at once"),
        ("own", "subject (Own) reads them: its code is not Keras': nobody knows what it makes of them"),
        ("model", "subject (Functional) reads them: it is a model inside the model"),
        ("slice", "subject (SlicingOpLambda) reads them: it picks some of them by their place"),
        ("constant", "subject (TFOpLambda) reads them: the operation math.multiply is not followed"),
        ("unknown", "subject (TFOpLambda) reads them: the operation math.cumsum is not followed"),
        ("reduced", "subject (TFOpLambda) makes one number of all of them"),
        ("places", "subject (GlobalAveragePooling1D) takes them for places, not for channels"),
    ],
)
def test_channels_stay_with_the_reason_when_what_reads_them_is_not_followed(kind: str, said: str) -> None:
    layers, inputs = _layers(), _input(FLAT)
    x = layers.Dense(4, activation="softmax" if kind == "inside" else None, name="before")(inputs)
    graph = _graph(inputs, _strange(kind, x))
    # an operation's layer has the name that TensorFlow gives it
    assert re.sub(r"^tf\.\S+", "subject", _reason(graph, "before")) == said
    assert graph.removable == ()


def _strange(kind: str, x: Any) -> Any:
    keras, layers = load_keras(), _layers()
    import tensorflow as tf

    class Own(layers.Layer):  # type: ignore[misc, name-defined]  # a class that is loaded late
        def call(self, inputs: Any) -> Any:
            return inputs

    if kind == "model":
        inputs = keras.Input((4,))
        return keras.Model(inputs, layers.Dense(2)(inputs), name="subject")(x)
    if kind == "places":
        return layers.GlobalAveragePooling1D(name="subject")(layers.Reshape((4, 1))(x))
    calls = {
        "Lambda": layers.Lambda(lambda values: 2 * values, name="subject"),
        "Dot": lambda values: layers.Dot(1, name="subject")([values, values]),
        "Softmax": layers.Softmax(name="subject"),
        "softmax": layers.Activation("softmax", name="subject"),
        "inside": layers.Activation("linear"),
        "own": Own(name="subject"),
        "slice": lambda values: values[:, 1:],
        "constant": lambda values: values * [1.0, 2.0, 3.0, 4.0],
        "unknown": lambda values: tf.cumsum(values, axis=1),
        "reduced": lambda values: tf.reduce_mean(values, axis=1, keepdims=True),
    }
    return calls[kind](x)


def test_reshape_that_keeps_channels_last_is_followed() -> None:
    layers, inputs = _layers(), _input((4, 4, 3))
    x = layers.Conv2D(6, 1, name="conv")(inputs)
    graph = _graph(inputs, layers.Reshape((16, 6), name="places")(x))
    assert _reason(graph, "conv") == ""
    (shape,) = [layer.sizes[("target_shape",)] for layer in graph.layers if layer.name == "places"]
    assert shape[0] == 16


def test_reshape_that_spreads_channels_over_several_dimensions_keeps_them() -> None:
    layers, inputs = _layers(), _input(FLAT)
    x = layers.Reshape((2, 3), name="mixed")(layers.Dense(6, name="hidden")(inputs))
    assert _reason(_graph(inputs, x), "hidden") == "mixed (Reshape) reads them: it spreads them over several axes"


def test_channels_are_followed_through_places_that_change_sides() -> None:
    layers, inputs = _layers(), _input((4, 6, 3))
    x = layers.Permute((3, 1, 2))(layers.Conv2D(4, 1, name="conv")(inputs))
    x = layers.ZeroPadding2D(1, data_format="channels_first")(layers.BatchNormalization(axis=1, name="norm")(x))
    graph = _graph(inputs, layers.GlobalAveragePooling2D(data_format="channels_first")(x))
    assert (_with(graph, "conv").layers, _with(graph, "conv").readers) == (("conv", "norm"), ("logits",))


def test_model_is_as_it_was_when_it_was_followed() -> None:
    layers, inputs = _layers(), _input(FLAT)
    model = load_keras().Sequential([inputs, layers.Dense(4, name="hidden"), layers.Dense(2, name="logits")])
    before, weights = model.get_config(), model.get_weights()
    assert [group.name for group in channel_graph.follow(model).removable] == ["hidden"]
    assert model.get_config() == before
    assert all(map(np.array_equal, model.get_weights(), weights))
