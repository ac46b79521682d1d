from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pipeline.compress.folding import fold
from pipeline.legacy_keras import load as load_keras
from tests.pipeline.compress import tiny
from tests.pipeline.compress.zoo import unlike_at_first


def _layers() -> Any:
    return load_keras().layers


def _norm(name: str = "norm", **options: Any) -> Any:
    return _layers().BatchNormalization(name=name, **options)


def _dense(units: int, name: str, **options: Any) -> Any:
    return _layers().Dense(units, name=name, **options)


def _in_a_row(*layers: Any) -> Any:
    return tiny.sequential(_layers().Flatten(name="flat"), *layers)


def _equal(model: Any, folded: Any) -> bool:
    return np.allclose(tiny.answers(folded), tiny.answers(model), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("center", [True, False])
def test_folded_model_answers_as_before(bias: bool, scale: bool, center: bool) -> None:
    model = _in_a_row(
        _dense(5, "hidden", use_bias=bias), _norm(scale=scale, center=center, epsilon=0.1), _dense(3, "logits")
    )
    weights = model.get_weights()
    folded, into = fold(model)
    assert into == {"norm": "hidden"}
    assert [layer.name for layer in folded.layers] == ["samples", "flat", "hidden", "logits"]
    assert folded.get_layer("hidden").use_bias
    assert _equal(model, folded)
    # and the model that came in is as it was
    assert all(np.array_equal(one, two) for one, two in zip(model.get_weights(), weights, strict=True))
    assert model.get_layer("norm") is not None
    folded.set_weights([0 * array for array in folded.get_weights()])
    assert all(np.array_equal(one, two) for one, two in zip(model.get_weights(), weights, strict=True))


def test_sequential_model_is_folded_as_a_functional_one_is() -> None:
    keras = load_keras()
    keras.utils.set_random_seed(4)
    rows = [_layers().Flatten(), _dense(5, "hidden"), _norm(), _layers().ReLU(), _dense(3, "logits")]
    model = keras.Sequential([keras.Input((6, 6, 1), name="samples"), *rows])
    unlike_at_first(model)
    folded, into = fold(model)
    assert into == {"norm": "hidden"}
    assert _equal(model, folded)


def test_several_are_folded_each_into_its_own_and_the_last_may_be_the_output() -> None:
    layers = _layers()
    model = _in_a_row(
        _dense(5, "one"), _norm("norm_1"), layers.ReLU(), _dense(4, "two", use_bias=False), _norm("norm_2"),
        _dense(3, "logits"), _norm("norm_3"),
    )  # fmt: skip
    folded, into = fold(model)
    assert into == {"norm_1": "one", "norm_2": "two", "norm_3": "logits"}
    assert _equal(model, folded)


def test_folded_layer_feeds_all_that_its_normalization_fed() -> None:
    keras, layers = load_keras(), _layers()
    inputs = keras.Input((6, 6, 1), name="samples")
    normed = _norm()(_dense(5, "hidden")(layers.Flatten()(inputs)))
    both = layers.Add()([layers.ReLU()(normed), normed])
    model = keras.Model(inputs, _dense(3, "logits")(both))
    unlike_at_first(model)
    folded, into = fold(model)
    assert into == {"norm": "hidden"}
    assert _equal(model, folded)


def test_only_the_first_of_two_normalizations_in_a_row_is_folded() -> None:
    model = _in_a_row(_dense(5, "hidden"), _norm("first"), _norm("second"), _dense(3, "logits"))
    folded, into = fold(model)
    assert into == {"first": "hidden"}
    assert [layer.name for layer in folded.layers][2:] == ["hidden", "second", "logits"]
    assert _equal(model, folded)


def _two_consumers() -> Any:
    keras, layers = load_keras(), _layers()
    inputs = keras.Input((6, 6, 1), name="samples")
    hidden = _dense(5, "hidden")(layers.Flatten()(inputs))
    model = keras.Model(inputs, _dense(3, "logits")(layers.Add()([hidden, _norm()(hidden)])))
    unlike_at_first(model)
    return model


def _shared_norm() -> Any:
    keras, layers = load_keras(), _layers()
    inputs = keras.Input((6, 6, 1), name="samples")
    flat, norm = layers.Flatten()(inputs), _norm()
    both = layers.Add()([norm(_dense(5, "one")(flat)), norm(_dense(5, "two")(flat))])
    model = keras.Model(inputs, _dense(3, "logits")(both))
    unlike_at_first(model)
    return model


@pytest.mark.parametrize(
    "make",
    [
        _two_consumers,
        _shared_norm,
        lambda: _in_a_row(_dense(5, "hidden", activation="relu"), _norm(), _dense(3, "logits")),
        lambda: _in_a_row(_dense(5, "hidden"), _layers().ReLU(), _norm(), _dense(3, "logits")),
        lambda: _in_a_row(_norm(), _dense(3, "logits")),
        lambda: tiny.sequential(_dense(5, "hidden"), _norm(axis=1), _layers().Flatten(), _dense(3, "logits")),
        tiny.cnn,
    ],
    ids=["two-consumers", "shared", "function-inside", "layer-between", "nothing-before", "other-axis", "convolution"],
)
def test_normalization_stays_where_no_dense_layer_can_take_it(make: Callable[[], Any]) -> None:
    model = make()
    folded, into = fold(model)
    assert into == {}
    assert "norm" in [layer.name for layer in folded.layers]
    assert _equal(model, folded)
