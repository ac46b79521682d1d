"""Gradients of the loss, held against differences of the loss itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.compress import taylor
from pipeline.data import batches
from pipeline.fit import losses
from pipeline.fit.config import FitConfig
from pipeline.legacy_keras import load as load_keras
from tests.pipeline.compress import tiny

CALIBRATION = tiny.SPLITS.calibration


def found(model: Any, batch_size: int) -> list[dict[tuple[str, int], np.ndarray]]:
    given = batches.evaluation(CALIBRATION, tiny.SPEC, tiny.DATA, batch_size=batch_size)
    return list(taylor.gradients(model, given, loss()))


def loss() -> Any:
    return losses.of(tiny.SPEC.head, FitConfig(), tiny.SPLITS.train.y, stage="shrink")


def test_gradient_is_what_a_small_change_of_a_weight_changes_of_the_loss() -> None:
    model = tiny.cnn()
    (gradients,) = found(model, len(CALIBRATION))
    step = 1e-3
    for name, index in (("conv", 0), ("norm", 0), ("hidden", 1), ("logits", 0)):
        layer, gradient = model.get_layer(name), gradients[name, index]
        place = np.unravel_index(np.abs(gradient).argmax(), gradient.shape)
        ends = []
        for change in (step, -step):
            values = layer.get_weights()
            values[index][place] += change
            layer.set_weights(values)
            ends.append(float(loss()(CALIBRATION.y, model(CALIBRATION.x, training=False))))
            values[index][place] -= change
            layer.set_weights(values)
        assert gradient[place] == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=0.02, abs=1e-4)


def test_there_is_a_gradient_for_each_weight_that_can_be_learned_of_each_batch() -> None:
    model = tiny.cnn()
    model.get_layer("conv").trainable = False
    some = found(model, 6)
    assert len(some) == 3  # of 16 samples
    for one in some:
        # of the normalization scale and shift; not the statistics
        assert list(one) == [(name, index) for name in ("conv", "norm", "hidden", "logits") for index in (0, 1)]
        for (name, index), gradient in one.items():
            assert gradient.shape == tuple(model.get_layer(name).weights[index].shape)
            assert gradient.any(), "a frozen layer's channels can go, too"
    (whole,) = found(model, 16)
    mean = sum(one["logits", 0] * count for one, count in zip(some, (6, 6, 4), strict=True)) / 16
    np.testing.assert_allclose(mean, whole["logits", 0], atol=1e-6)


def test_gradients_are_the_same_bytes_again() -> None:
    one, other = (found(tiny.cnn(), 5) for _ in range(2))
    for first, second in zip(one, other, strict=True):
        assert {place: array.tobytes() for place, array in first.items()} == {
            place: array.tobytes() for place, array in second.items()
        }


def test_dropout_does_not_touch_the_gradients() -> None:
    layers = load_keras().layers
    model = tiny.sequential(layers.Flatten(), layers.Dropout(0.9), layers.Dense(3, name="logits"))
    once, again = found(model, 16)[0], found(model, 16)[0]
    np.testing.assert_array_equal(once["logits", 0], again["logits", 0])


def test_tokens_gather_rows_whose_gradients_are_those_of_the_whole_table() -> None:
    keras = load_keras()
    keras.utils.set_random_seed(1)
    tokens = keras.Input((4,), dtype="int32")
    table = keras.layers.Embedding(5, 3, name="table")(tokens)
    model = keras.Model(tokens, keras.layers.Dense(2, name="logits")(keras.layers.Flatten()(table)))
    (one,) = taylor.gradients(model, [(np.array([[1, 1, 3, 3]], np.int32), np.array([1]))], loss())
    assert one["table", 0].shape == (5, 3)
    assert one["table", 0].any(axis=1).tolist() == [False, True, False, True, False]
