from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.compress.splitting import split
from pipeline.compress.support import floating
from pipeline.legacy_keras import load as load_keras


def _model(*layers: Any) -> Any:
    return load_keras().Sequential([load_keras().Input((8, 8, 3), name="image"), *layers])


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_separable_convolution_becomes_a_depthwise_and_a_1x1_one_that_answer_alike(padding: str, bias: bool) -> None:
    keras = load_keras()
    separable = keras.layers.SeparableConv2D(
        5, 3, strides=2, padding=padding, depth_multiplier=2, use_bias=bias, activation="relu", name="both",
        bias_initializer="ones",
    )  # fmt: skip
    model = _model(separable, keras.layers.Flatten())
    halves, names = split(model)
    assert names == {"both": "both_depthwise"}
    assert [type(layer).__name__ for layer in halves.layers[1:3]] == ["DepthwiseConv2D", "Conv2D"]
    samples = np.random.default_rng(0).random((4, 8, 8, 3), np.float32)
    np.testing.assert_allclose(halves.predict(samples, verbose=0), model.predict(samples, verbose=0), atol=1e-6)


def test_rescaling_with_an_offset_becomes_two() -> None:
    keras = load_keras()
    model = _model(keras.layers.Rescaling(1 / 127.5, -1, name="scaled"), keras.layers.Flatten(name="flat"))
    halves, names = split(model)
    assert names == {"scaled": "scaled_scale"}
    samples = np.random.default_rng(0).random((4, 8, 8, 3), np.float32) * 255
    np.testing.assert_allclose(halves.predict(samples, verbose=0), model.predict(samples, verbose=0), atol=1e-6)


def test_model_without_such_layers_stays_as_it_is() -> None:
    keras = load_keras()
    model = _model(keras.layers.Rescaling(1 / 255), keras.layers.Conv2D(2, 3), keras.layers.Flatten())
    halves, names = split(model)
    assert names == {}
    assert halves.layers == model.layers or halves.layers[1:] == model.layers


def test_what_scales_the_columns_of_an_input_stays_whole_and_float() -> None:
    keras = load_keras()
    raw = keras.Input((2,), name="features")
    scaled = keras.layers.Rescaling([0.5, 2.0], offset=[1.0, 0.0], name="scaled")(raw)
    last = keras.layers.Rescaling([3.0, 4.0], name="value")(keras.layers.Dense(2, name="dense")(scaled))
    model = keras.Model(raw, last)
    halves, names = split(model)
    assert names == {}
    reasons = {layer.name: floating(layer) for layer in halves.layers[1:]}
    assert "columns" in reasons.pop("scaled")
    assert reasons == {"dense": "", "value": ""}
