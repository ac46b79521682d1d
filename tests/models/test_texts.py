"""Architectures for texts, untrained."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import models
from models import mlp, text_rnn, text_transformer
from pipeline.errors import InputError
from pipeline.measuring import footprint
from tests.pipeline.formats.text import SPEC

LENGTH, WORDS = 12, 200


def test_transformer_counts_as_by_hand() -> None:
    config = text_transformer.Config(embedding=8, heads=2, feed_forward=16, blocks=2)
    found = footprint.macs(models.build(config, SPEC, 0))
    attention = 4 * LENGTH * 8 * 8 + 2 * LENGTH * LENGTH * 8
    assert {layer.name: layer.macs for layer in found.layers if layer.macs} == {
        "attention_1": attention, "feed_forward_1": LENGTH * 8 * 16, "feed_forward_out_1": LENGTH * 16 * 8,
        "attention_2": attention, "feed_forward_2": LENGTH * 8 * 16, "feed_forward_out_2": LENGTH * 16 * 8,
        "logits": 8 * 3,
    }  # fmt: skip
    assert found.unknown == ()


def test_rnn_counts_as_by_hand() -> None:
    found = footprint.macs(models.build(text_rnn.Config(embedding=8, units=(5,), cell="gru"), SPEC, 0))
    assert (found.total, found.unknown) == (LENGTH * 3 * (8 * 5 + 5 * 5) + 5 * 3, ())


def test_transformer_adds_the_papers_positions_to_scaled_embeddings() -> None:
    model = models.build(text_transformer.Config(embedding=6, heads=1), SPEC, 0)
    found = model.get_layer("positions")(np.ones((1, LENGTH, 6), np.float32)).numpy()[0] - np.sqrt(6)
    for place in range(LENGTH):
        angles = place / 10_000 ** (np.arange(0, 6, 2) / 6)
        assert found[place, 0::2] == pytest.approx(np.sin(angles), abs=1e-6)
        assert found[place, 1::2] == pytest.approx(np.cos(angles), abs=1e-6)


def test_attentions_four_projections_start_apart_and_by_the_seed_alone() -> None:
    config = text_transformer.Config(embedding=8)
    one, same, other = (models.build(config, SPEC, seed).get_layer("attention_1").get_weights() for seed in (0, 0, 1))
    kernels = [values.ravel() for values in one if values.ndim == 3]
    assert len(kernels) == 4
    assert all(not np.allclose(a, b) for place, a in enumerate(kernels) for b in kernels[:place])
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not np.array_equal(one[0], other[0])


def test_texts_architectures_drop_out_and_pool_as_asked() -> None:
    model = models.build(text_transformer.Config(embedding=4, dropout=0.5, pooling="average", dense=(3,)), SPEC, 0)
    assert type(model.get_layer("pool")).__name__ == "GlobalAveragePooling1D"
    dropouts = [layer.name for layer in model.layers if type(layer).__name__ == "Dropout"]
    assert dropouts == ["attention_dropout_1", "feed_forward_dropout_1", "dropout_1"]


@pytest.mark.parametrize(
    ("config", "shape", "what", "todo"),
    [
        (text_rnn.Config(), (8, 8, 1), "'text_rnn' takes texts", "set model.architecture to cnn or mlp or "),
        (mlp.Config(), (), "'mlp' takes numbers", "set model.architecture to text_rnn or text_transformer"),
        (
            text_transformer.Config(embedding=30, heads=4), (), "model.heads do not share model.embedding evenly",
            "set model.embedding to 32",
        ),
    ],
)  # fmt: skip
def test_architecture_is_refused_for_other_data(config: Any, shape: tuple[int, ...], what: str, todo: str) -> None:
    with pytest.raises(InputError) as caught:
        models.check(config, shape)
    assert what in caught.value.what
    assert caught.value.todo.startswith(todo)
