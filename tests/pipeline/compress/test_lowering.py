"""What `lowering` writes in other layers computes in integers in the file, as the model that was trained does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.compress import fake_quant, kernels, lowering
from pipeline.errors import InputError
from pipeline.formats import tflite
from pipeline.legacy_keras import load as load_keras
from pipeline.legacy_keras import load_tfmot
from tests.pipeline.compress import tiny
from tests.pipeline.compress.zoo import unlike_at_first

SAMPLES = tiny.SPLITS.validation.x
# rounded to the nearest of two when both are as near, by two programs, layer after layer
STEPS = 4


def _net(body: Callable[[Any, Any], Any], shape: tuple[int, ...] = (6, 6, 1)) -> Any:
    """Return a net from the samples through a body to three logits."""
    keras = load_keras()
    keras.utils.set_random_seed(5)
    inputs = values = keras.Input((6, 6, 1), name="samples")
    if shape != (6, 6, 1):
        values = keras.layers.Reshape(shape, name="given")(values)
    found = body(values, keras.layers)
    if len(found.shape) > 2:
        found = keras.layers.Flatten(name="flat")(found)
    model = keras.Model(inputs, keras.layers.Dense(3, name="logits")(found))
    unlike_at_first(model)
    return model


def _squeeze_excite(x: Any, layers: Any) -> Any:
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(8, 3, padding="same", name="conv")(x)))
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(4, 1, activation="swish", name="reduce")(gate)
    gate = layers.Conv2D(8, 1, activation="sigmoid", name="restore")(gate)
    return layers.GlobalAveragePooling2D()(layers.Multiply(name="scale")([x, gate]))


def _hard_squeeze_excite(x: Any, layers: Any) -> Any:
    """As MobileNetV3 of Keras' own is written."""
    relu6 = layers.ReLU(6.0, name="relu6")
    x = layers.BatchNormalization()(layers.Conv2D(8, 3, padding="same", name="conv")(x))
    x = layers.Multiply(name="hard_swish")([x, relu6(x + 3.0) * (1.0 / 6.0)])
    gate = layers.Dense(8, name="gate")(layers.Dense(4, "relu", name="narrow")(layers.GlobalAveragePooling2D()(x)))
    gate = layers.Reshape((1, 1, 8))(relu6(gate + 3.0) * (1.0 / 6.0))
    return x * gate


def _conv1d(x: Any, layers: Any) -> Any:
    x = layers.Conv1D(8, 3, padding="causal", name="causal")(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = x + layers.Conv1D(8, 3, padding="same", activation="relu", name="same")(x)
    x = layers.MaxPooling1D(2, padding="same")(x)
    x = layers.SeparableConv1D(8, 3, padding="same", name="separable")(x)
    return layers.GlobalAveragePooling1D()(layers.ReLU()(layers.BatchNormalization()(x)))


def _more_1d(x: Any, layers: Any) -> Any:
    x = layers.DepthwiseConv1D(3, strides=2, padding="same", depth_multiplier=2, name="depthwise")(x)
    x = layers.UpSampling1D(2)(layers.LeakyReLU()(x))
    x = layers.Conv1DTranspose(4, 3, strides=2, padding="same", name="transposed")(x)
    x = layers.Conv1D(4, 2, name="conv")(x)
    return layers.AveragePooling1D(2)(x)


def _norms_alone(x: Any, layers: Any) -> Any:
    norm = layers.BatchNormalization
    x = norm(name="first")(x)
    x = norm(name="behind_relu")(layers.Conv2D(4, 3, activation="relu", name="conv")(x))
    y = layers.ReLU()(norm(name="before_relu")(layers.MaxPooling2D(2)(x)))
    x = norm(name="behind_concatenate")(layers.Concatenate()([layers.AveragePooling2D(2)(x), y]))
    return norm(name="flat_norm")(layers.Dense(6, activation="relu", name="hidden")(layers.Flatten()(x)))


def _dense_over_several_dimensions(x: Any, layers: Any) -> Any:
    x = layers.ReLU()(layers.BatchNormalization()(layers.Dense(5, name="steps")(x)))
    x = layers.Reshape((3, 2, 5))(x)
    return layers.BatchNormalization(name="norm")(layers.Dense(4, activation="relu", name="places")(x))


def _functions_inside(x: Any, layers: Any) -> Any:
    x = layers.Conv2D(4, 3, activation="swish", name="swish")(x)
    x = layers.SeparableConv2D(4, 3, padding="same", activation="relu6", name="relu6")(x)
    x = layers.DepthwiseConv2D(3, activation="relu6", name="depthwise")(x)
    return layers.Dense(5, activation="swish", name="dense")(layers.Flatten()(x))


def _merged(x: Any, layers: Any) -> Any:
    a, b, c = (layers.Conv2D(3, 1 + place, padding="same", name=f"branch_{place}")(x) for place in range(3))
    merged = [
        kind(name=kind.__name__.lower())([a, b, c])
        for kind in (layers.Add, layers.Multiply, layers.Average, layers.Maximum, layers.Minimum)
    ]
    return layers.Concatenate()([layers.GlobalAveragePooling2D()(one) for one in merged])


def _operators(x: Any, layers: Any) -> Any:
    import tensorflow as tf

    a, b = (layers.Conv2D(3, 3, padding="same", name=name)(x) for name in ("left", "right"))
    x = tf.concat([a - b, tf.maximum(a, b), tf.nn.relu(2.0 * a - 0.5), -tf.sigmoid(1.0 - b / 2.0)], axis=-1)
    return tf.reduce_mean(x, axis=(1, 2))


def _called_at_several_places(x: Any, layers: Any) -> Any:
    relu, pool = layers.ReLU(name="relu"), layers.MaxPooling2D(2, name="pool")
    x = pool(relu(layers.Conv2D(4, 3, padding="same", name="one")(x)))
    return pool(relu(layers.Conv2D(4, 3, padding="same", name="two")(x)))


def _dense_block(x: Any, layers: Any) -> Any:
    """What goes into a Concatenate goes elsewhere, too; and one has nine inputs (Huang et al., 2017)."""
    grown = [layers.ReLU()(layers.Conv2D(2, 3, padding="same", name="stem")(x))]
    for place in range(3):
        all_yet = grown[0] if place == 0 else layers.Concatenate(name=f"so_far_{place}")(list(grown))
        grown.append(layers.Conv2D(2, 3, padding="same", activation="relu", name=f"conv_{place}")(all_yet))
    pooled = [
        layers.MaxPooling2D(3, strides=1, padding="same")(grown[-1]),
        layers.AveragePooling2D(3, strides=1, padding="same")(grown[2]),
        layers.MaxPooling2D(2)(layers.UpSampling2D(2, interpolation="bilinear")(grown[2])),
    ]
    return layers.Concatenate(name="nine")([*grown, layers.UpSampling2D(1)(grown[1]), *pooled, x])


def _enlarged(x: Any, layers: Any) -> Any:
    x = layers.UpSampling2D(2)(layers.Conv2D(3, 3, activation="relu", name="conv")(x))
    x = layers.UpSampling2D(2, interpolation="bilinear")(x)
    return layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, name="behind")(x))


def _nested(x: Any, layers: Any) -> Any:
    keras = load_keras()
    inside = keras.Sequential([keras.Input((6, 6)), layers.Conv1D(4, 3, activation="relu", name="conv")], name="inner")
    return inside(x)


NETS: dict[str, tuple[Callable[[Any, Any], Any], tuple[int, ...]]] = {
    "squeeze-excite": (_squeeze_excite, (6, 6, 1)),
    "hard-squeeze-excite": (_hard_squeeze_excite, (6, 6, 1)),
    "conv1d": (_conv1d, (6, 6)),
    "more-1d": (_more_1d, (6, 6)),
    "norms-alone": (_norms_alone, (6, 6, 1)),
    "dense-over-several-dimensions": (_dense_over_several_dimensions, (6, 6)),
    "functions-inside": (_functions_inside, (6, 6, 1)),
    "merged": (_merged, (6, 6, 1)),
    "operators": (_operators, (6, 6, 1)),
    "called-at-several-places": (_called_at_several_places, (6, 6, 1)),
    "dense-block": (_dense_block, (6, 6, 1)),
    "enlarged": (_enlarged, (6, 6, 1)),
    "nested": (_nested, (6, 6)),
}


@pytest.mark.parametrize("name", NETS)
def test_net_computes_in_integers_as_the_model_that_was_trained(tmp_path: Path, name: str) -> None:
    model = _net(*NETS[name])
    lowered, _ = lowering.lower(model)
    np.testing.assert_allclose(tiny.answers(lowered), tiny.answers(model), atol=1e-4)
    assert fake_quant.floating(lowered) == {}
    for layer in model.layers:
        if kernels.of(layer) and name != "nested":
            assert kernels.of(lowered.get_layer(layer.name))
    built = fake_quant.build(lowered)
    fake_quant.calibrate(built, lowered, tiny.SPLITS.calibration.x)
    path = tmp_path / "int8.tflite"
    tflite.write(built, path, tiny.SPEC, "int8", fake_quant=True)
    operators = tflite.operators(path)
    assert (operators.floating_names, operators.fake_quant, operators.first_integer) == ({}, 0, True)
    # with every kernel in it
    held = tflite.kernels(path)
    assert all(values.dtype == np.int8 for values in held.values())
    plain = fake_quant.plain(built, lowered)
    assert {values.size for _, _, values in kernels.named(plain)} <= {values.size for values in held.values()}
    predictor = tflite.load(path, tiny.SPEC, 1)
    wanted, found = tiny.answers(built), predictor.predict(SAMPLES)["logits"]
    predictor.close()
    low, high = fake_quant.ranges(built)["logits"]
    step = (high - low) / 255
    assert np.abs(found - wanted).max() <= STEPS * step * 1.001
    clear = np.diff(np.sort(wanted)[:, -2:])[:, 0] > 2 * STEPS * step
    assert np.array_equal(found.argmax(-1)[clear], wanted.argmax(-1)[clear])


@pytest.mark.parametrize(
    ("name", "error", "what"),
    [
        ("squeeze-excite", RuntimeError, "Layer scale:.* is not supported"),
        ("more-1d", RuntimeError, "Layer depthwise:.* is not supported"),
        ("conv1d", AttributeError, "tf.__operators__.add"),
    ],
)
def test_tf_mot_alone_refuses_the_net(name: str, error: type[Exception], what: str) -> None:
    with pytest.raises(error, match=what):
        load_tfmot().quantization.keras.quantize_model(_net(*NETS[name]))


@pytest.mark.parametrize("name", ["conv1d", "more-1d", "dense-over-several-dimensions", "functions-inside"])
def test_zeros_of_kernels_stay_and_the_rest_learns(tmp_path: Path, name: str) -> None:
    model = _net(*NETS[name])
    for layer in model.layers:
        weights = layer.get_weights()
        if kernels.of(layer):
            layer.set_weights([one * (np.arange(one.size).reshape(one.shape) % 3 > 0) for one in weights])
    lowered, _ = lowering.lower(model)
    built = fake_quant.build(lowered)
    fake_quant.calibrate(built, lowered, tiny.SPLITS.calibration.x)
    tiny.tune(built, tmp_path, epochs=1)
    plain = fake_quant.plain(built, lowered)
    for (layer, _, before), (_, _, after) in zip(kernels.named(lowered), kernels.named(plain), strict=True):
        assert np.array_equal(before == 0, after == 0), layer.name
        assert not np.array_equal(before, after), layer.name


def test_batch_normalization_behind_a_1d_convolution_becomes_part_of_it(tmp_path: Path) -> None:
    def body(x: Any, layers: Any) -> Any:
        return layers.ReLU()(layers.BatchNormalization(name="norm")(layers.Conv1D(8, 3, name="conv")(x)))

    lowered, _ = lowering.lower(_net(body, (36, 1)))
    assert type(lowered.get_layer("norm")).__name__ == "BatchNormalization"
    built = fake_quant.build(lowered)
    fake_quant.calibrate(built, lowered, tiny.SPLITS.calibration.x)
    tflite.write(built, tmp_path / "int8.tflite", tiny.SPEC, "int8", fake_quant=True)
    # the convolution, and the logits
    assert len(tflite.kernels(tmp_path / "int8.tflite")) == 2


def test_new_layers_are_told_by_the_layer_that_they_come_from() -> None:
    def body(x: Any, layers: Any) -> Any:
        parts = [layers.Conv2D(4, 3, name=f"conv_{place}")(x) for place in range(3)]
        return layers.Add(name="add_1")([layers.Add(name="add")(parts), parts[0]])

    origins: dict[str, str] = {}
    lowered, _ = lowering.lower(_net(body), origins)
    assert origins == {"add_1_1": "add"}
    assert {"add", "add_1", "add_1_1"} <= {layer.name for layer in lowered.layers}


def test_dilated_convolution_stays_float_by_name() -> None:
    lowered, _ = lowering.lower(_net(lambda x, layers: layers.Conv2D(2, 3, dilation_rate=2, name="dilated")(x)))
    assert fake_quant.floating(lowered) == {
        "dilated": "TensorFlow's converter writes a dilated convolution as several operators, and in float"
    }


def test_concatenation_of_a_fixed_range_with_others_is_refused() -> None:
    def body(x: Any, layers: Any) -> Any:
        wide = layers.Conv2D(2, 3, padding="same", name="wide")(x)
        return layers.Concatenate(name="joined")([wide, layers.MaxPooling2D(1)(layers.Softmax(name="shares")(wide))])

    lowered, _ = lowering.lower(_net(body))
    with pytest.raises(InputError, match="quantize: joined concatenates what int8 cannot give one range") as told:
        fake_quant.build(lowered)
    assert told.value.found == "shares, whose range LiteRT fixes, beside others"
