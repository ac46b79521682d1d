"""Which layers of a student are compared with which of its teacher, and what is said where none can be."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import models
from pipeline.compress import fake_quant, pruning
from pipeline.compress.distillation import layers
from pipeline.errors import InputError
from pipeline.fit.teach import Attention, Fitnet, Relations
from pipeline.legacy_keras import load as load_keras
from pipeline.predictor import classifier
from tests.pipeline.compress import tiny

SPEC = classifier("image", (8, 8, 1), (0, 255), ("a", "b", "c"))
WHEN = pruning.Schedule(None, 1, 1, 1.0, 1)


def cnn(*filters: int, **options: Any) -> Any:
    return models.build(models.cnn.Config(filters=filters, **options), SPEC, 0)


def named(pairs: list[layers.Pair]) -> dict[str, str]:
    return {pair.student: pair.teacher for pair in pairs}


def test_last_layers_of_each_resolution_are_compared_by_themselves() -> None:
    student, teacher = cnn(4, 6), cnn(8, 8, 8, convolutions=2)
    found = layers.features(student, teacher, Fitnet(), "distill.teach.features")
    assert named(found) == {"relu_1": "relu_2", "relu_2": "relu_4", "pool_2": "relu_6"}
    # what comes to the first kernel was not learned: a scaled image is no feature
    assert "rescaling" not in {name.lower() for name in layers.outputs(student, "it")}
    assert [tuple(pair.seen.shape[1:]) for pair in found] == [(8, 8, 4), (4, 4, 6), (2, 2, 6)]
    assert [tuple(pair.shown.shape[1:]) for pair in found] == [(8, 8, 8), (4, 4, 8), (2, 2, 8)]


def test_attention_leaves_out_what_has_one_position() -> None:
    student, teacher = cnn(4, 4, 4), cnn(4, 4, 4)
    assert "pool_3" in named(layers.features(student, teacher, Fitnet(), "key"))
    assert "pool_3" not in named(layers.features(student, teacher, Attention(), "key"))


def test_embeddings_are_compared_where_no_layer_has_positions() -> None:
    flat = classifier("row", (5,), (0, 1), ("a", "b"))
    student, teacher = (models.build(models.mlp.Config(dense=units), flat, 0) for units in ((4,), (8, 6)))
    found = layers.features(student, teacher, Fitnet(), "key")
    assert [tuple(one.shape[1:]) for pair in found for one in (pair.seen, pair.shown)] == [(4,), (6,)]
    with pytest.raises(InputError, match="no positions in the student, no positions in the teacher"):
        layers.features(student, teacher, Attention(), "key")


def test_sequences_are_compared_step_by_step() -> None:
    steps = classifier("sequence", (7, 3), (0, 1), ("a", "b"))
    keras = load_keras()

    def recurrent(units: int) -> Any:
        inputs = keras.Input(steps.input.shape)
        values = keras.layers.LSTM(units, return_sequences=True, name="steps")(inputs)
        values = keras.layers.LSTM(units, name="last")(values)
        return keras.Model(inputs, keras.layers.Dense(2, name="logits")(values))

    for chosen in (Fitnet(), Attention()):
        assert named(layers.features(recurrent(4), recurrent(6), chosen, "key")) == {"steps": "steps"}
    (pair,) = layers.relations(recurrent(4), recurrent(6), Relations(), "key")
    assert (pair.student, pair.teacher, pair.seen.shape[-1], pair.shown.shape[-1]) == ("last", "last", 4, 6)


@pytest.mark.parametrize("technique", ["prune", "quantize"])
def test_layers_inside_wrappers_go_by_their_plain_names(technique: str) -> None:
    plain = tiny.cnn()
    if technique == "prune":
        wrapped = pruning.wrap(plain, {"conv": 0.5, "hidden": 0.5}, WHEN)
    else:
        wrapped = fake_quant.build(plain)
    assert "conv" not in {layer.name for layer in wrapped.layers}
    chosen = Fitnet(layers={"conv": "norm", "hidden": "hidden"})
    assert named(layers.features(wrapped, plain, chosen, "key")) == {"conv": "norm", "hidden": "hidden"}
    assert named(layers.features(wrapped, plain, Fitnet(), "key")) == {"relu": "relu"}
    assert named(layers.relations(wrapped, plain, Relations(), "key")) == {"hidden": "hidden"}


def test_embedding_is_what_the_last_dense_layer_takes() -> None:
    (pair,) = layers.relations(cnn(4, head="average"), cnn(8, dense=(5,)), Relations(), "key")
    assert pair.student == "average"
    assert (pair.seen.shape[-1], pair.shown.shape[-1]) == (4, 5)


def _said(error: InputError) -> tuple[str, str, str]:
    return str(error.expected), str(error.found), str(error.todo)


def test_names_that_are_no_layers_are_refused_with_those_that_are() -> None:
    chosen = Fitnet(layers={"conv_9": "conv_1", "conv_1": "logits", "relu_1": "relu_1"})
    with pytest.raises(InputError, match=re.escape("distill.teach.features.layers names what cannot be")) as refused:
        layers.features(cnn(4), cnn(8), chosen, "distill.teach.features")
    expected, found, todo = _said(refused.value)
    assert expected.startswith("layers between the first kernel and the output: conv_1, bn_1, relu_1, pool_1")
    assert found == "conv_9 of the student; logits of the teacher"
    assert todo == "distill.teach.features.layers: {relu_1: relu_1, pool_1: pool_1}, or auto"


@pytest.mark.parametrize("method", [Fitnet, Attention])
def test_layers_of_different_resolutions_are_refused_with_what_would_be_possible(method: Any) -> None:
    with pytest.raises(InputError, match="compares layers of different resolutions") as refused:
        layers.features(cnn(4, 4), cnn(8, 8), method(layers={"relu_1": "relu_2", "relu_2": "relu_2"}), "key")
    _, found, todo = _said(refused.value)
    assert found == "relu_1 has 8x8, relu_2 has 4x4"
    assert todo == "key.layers: {relu_1: relu_1, relu_2: relu_2, pool_2: pool_2}, or auto"


def test_attention_of_a_vector_is_refused() -> None:
    chosen = Attention(layers={"average": "average"})
    with pytest.raises(InputError, match="attention is where a layer looks") as refused:
        layers.features(cnn(4, head="average"), cnn(8, head="average"), chosen, "key")
    assert _said(refused.value)[1] == "average"
    assert _said(refused.value)[2].endswith("or method: fitnet")


def test_networks_that_share_no_resolution_are_refused() -> None:
    keras = load_keras()
    inputs = keras.Input((8, 8, 1))
    values = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(2, 3, name="valid")(inputs))
    odd = keras.Model(inputs, keras.layers.Dense(3, name="logits")(values))
    with pytest.raises(InputError, match="no layers of student and teacher match by themselves") as refused:
        layers.features(odd, cnn(4, head="average"), Attention(), "key")
    assert _said(refused.value)[1] == "6x6, no positions in the student, 8x8, 4x4, no positions in the teacher"


def test_network_that_ends_in_no_dense_layer_has_no_embedding_by_itself() -> None:
    keras = load_keras()
    inputs = keras.Input((8, 8, 1))
    values = keras.layers.Conv2D(3, 8, name="logits")(keras.layers.Conv2D(2, 3, padding="same", name="first")(inputs))
    whole = keras.Model(inputs, keras.layers.Flatten(name="flat")(values))
    with pytest.raises(InputError, match="the student has no embedding") as refused:
        layers.relations(whole, cnn(4), Relations(), "key")
    assert _said(refused.value)[1:] == ("logits (Conv2D)", "name layers: key.layers")
    (pair,) = layers.relations(whole, cnn(4), Relations(layers={"first": "relu_1"}), "key")
    assert pair.student == "first"
    linear = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(inputs)))
    with pytest.raises(InputError, match="the teacher has no embedding"):
        layers.relations(cnn(4), linear, Relations(), "key")


def test_model_without_a_graph_of_layers_cannot_be_looked_into() -> None:
    keras = load_keras()

    class Own(keras.Model):  # type: ignore[misc, name-defined]
        def call(self, inputs: Any) -> Any:
            return inputs

    own = Own()
    own(np.zeros((1, 8, 8, 1), np.float32))
    with pytest.raises(InputError, match="the teacher has no layers that could be looked into") as refused:
        layers.features(cnn(4), own, Fitnet(), "key")
    assert _said(refused.value)[1] == "Own"
