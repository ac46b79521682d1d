"""Which models XNNPACK computes sparsely, held against TF-MOT's own policy."""

from __future__ import annotations

from typing import Any

import pytest

import models
from models import mobilenet
from pipeline.compress import xnnpack
from pipeline.legacy_keras import load as load_keras
from pipeline.predictor import classifier

SPEC = classifier("image", (32, 32, 3), (0, 255), ("a", "b"))


def _net(version: int = 2, **options: Any) -> Any:
    config = {"width_multiplier": 0.1, "blocks": 3, "explicit_padding": True, "version": version} | options
    return models.build(mobilenet.Config.model_validate(config), SPEC, 0)


def _row(*layers: Any, **first: Any) -> Any:
    """Return a model of a first convolution, some layers, and an average with what TF-MOT wants of it."""
    keras = load_keras()
    kinds = keras.layers
    options = {"strides": 2, "padding": "valid"} | first
    values = inputs = keras.Input((16, 16, 3), name="image")
    for layer in (
        kinds.ZeroPadding2D(1, name="pad"),
        kinds.Conv2D(8, 3, name="first", **options),
        *layers,
        kinds.GlobalAveragePooling2D(keepdims=True, name="average"),
        kinds.Flatten(name="flat"),
        kinds.Dense(2, name="logits"),
    ):
        values = layer(values)
    return keras.Model(inputs, values)


def _passes_in_tf_mot(model: Any) -> bool:
    load_keras()
    import tensorflow_model_optimization as tfmot

    try:
        tfmot.sparsity.keras.PruneForLatencyOnXNNPack().ensure_model_supports_pruning(model)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("version", [1, 2])
def test_mobilenets_with_explicit_padding_fit_and_their_pointwise_convolutions_are_pruned(version: int) -> None:
    model = _net(version)
    assert xnnpack.misfits(model) == []
    dense = xnnpack.left(model)
    pruned = [layer.name for layer in model.layers if layer.name not in dense]
    assert pruned == [layer.name for layer in model.layers if getattr(layer, "kernel_size", None) == (1, 1)]
    assert {"stem", "logits", "block_1_depthwise"} <= set(dense)
    assert dense["logits"].startswith("XNNPACK has sparse kernels for 1x1 convolutions before the global average alone")


def test_mobilenets_as_in_the_paper_do_not_fit() -> None:
    (why,) = xnnpack.misfits(_net(explicit_padding=False))
    assert why == f"{xnnpack.BEGINNING}, but stem has padding same, is not right behind a ZeroPadding2D of 1"


def test_each_thing_that_the_first_convolution_lacks_is_said() -> None:
    keras = load_keras()
    inputs = keras.Input((16, 16, 1))
    model = keras.Model(inputs, keras.layers.Conv2D(4, 5, name="first")(keras.layers.ZeroPadding2D(1)(inputs)))
    (why,) = xnnpack.misfits(model)
    assert why.endswith("but first is of 5 x 5, reads 1 channel, has stride 1 x 1")
    dense = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    assert xnnpack.misfits(dense)[0].endswith("but the model has no Conv2D")


@pytest.mark.parametrize("side", [8, 28, 32, 96])
@pytest.mark.parametrize("version", [1, 2])
def test_explicit_padding_fits_whatever_size_the_images_have(version: int, side: int) -> None:
    config = {"width_multiplier": 0.1, "explicit_padding": True, "version": version}
    spec = classifier("image", (side, side, 3), (0.0, 255.0), ["a", "b"])
    assert xnnpack.misfits(mobilenet.build(mobilenet.Config.model_validate(config), spec, 0)) == []


def test_each_layer_that_does_not_fit_is_named() -> None:
    layers = load_keras().layers
    model = _row(
        layers.DepthwiseConv2D(3, strides=2, padding="same", name="depth"),
        layers.Conv2D(8, 3, padding="same", name="wide"),
        layers.Activation("swish", name="swish"),
        layers.MaxPooling2D(name="pool"),
    )
    assert xnnpack.misfits(model) == [
        "no 1x1 convolution behind the first one",
        "depth: with stride 2 it needs padding valid, right behind a ZeroPadding2D of 1",
        "wide: a convolution in between has to be 1 x 1 with stride 1 and no groups",
        "swish: its function swish is none of relu, relu6, leaky_relu, elu, sigmoid, linear",
        "pool: MaxPooling2D is no kind of layer that works channel by channel there",
    ]


def test_model_without_an_average_is_told_where_it_ends() -> None:
    keras = load_keras()
    inputs = keras.Input((16, 16, 3))
    values = keras.layers.Conv2D(4, 3, strides=2, name="first")(keras.layers.ZeroPadding2D(1)(inputs))
    model = keras.Model(inputs, keras.layers.Conv2D(4, 1, name="last")(values))
    assert xnnpack.misfits(model) == ["last: it is reached without a GlobalAveragePooling2D, where sparse kernels end"]


def _cases() -> dict[str, Any]:
    def point() -> Any:
        return load_keras().layers.Conv2D(8, 1)

    def kinds() -> Any:
        return load_keras().layers

    return {
        "plain": lambda: _row(point()),
        "same": lambda: _row(point(), padding="same"),
        "stride 1": lambda: _row(point(), strides=1),
        "relu": lambda: _row(point(), kinds().ReLU(6.0)),
        "norm": lambda: _row(kinds().BatchNormalization(), point()),
        "sigmoid": lambda: _row(point(), kinds().Activation("sigmoid")),
        "swish": lambda: _row(point(), kinds().Activation("swish")),
        "softmax": lambda: _row(point(), kinds().Softmax()),
        "depthwise": lambda: _row(kinds().DepthwiseConv2D(3, padding="same"), point()),
        "depthwise valid": lambda: _row(kinds().DepthwiseConv2D(3), point()),
        "depthwise 5": lambda: _row(kinds().DepthwiseConv2D(5, padding="same"), point()),
        "depthwise 7": lambda: _row(kinds().DepthwiseConv2D(7, padding="same"), point()),
        "halved": lambda: _row(kinds().ZeroPadding2D(1), kinds().DepthwiseConv2D(3, strides=2), point()),
        "halved 5": lambda: _row(kinds().ZeroPadding2D(2), kinds().DepthwiseConv2D(5, strides=2), point()),
        "halved unpadded": lambda: _row(kinds().DepthwiseConv2D(3, strides=2), point()),
        "two a channel": lambda: _row(kinds().DepthwiseConv2D(3, padding="same", depth_multiplier=2), point()),
        "wide": lambda: _row(point(), kinds().Conv2D(8, 3)),
        "pointwise with a stride": lambda: _row(kinds().Conv2D(8, 1, strides=2), point()),
        "pool": lambda: _row(point(), kinds().MaxPooling2D()),
        "bilinear": lambda: _row(point(), kinds().UpSampling2D(interpolation="bilinear")),
        "nearest": lambda: _row(point(), kinds().UpSampling2D()),
        "mobilenet": lambda: _net(explicit_padding=False),
    }


@pytest.mark.parametrize("case", _cases())
def test_what_fits_is_what_tf_mots_policy_lets_pass(case: str) -> None:
    model = _cases()[case]()
    assert (xnnpack.misfits(model) == []) == _passes_in_tf_mot(model), xnnpack.misfits(model)
