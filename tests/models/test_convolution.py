from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models import convolution, layers
from pipeline.legacy_keras import load as load_keras


@pytest.mark.parametrize(
    ("count", "multiplier", "expected"),
    [(16, 1.0, 16), (24, 1.0, 24), (32, 0.35, 16), (24, 0.35, 8), (1280, 1.4, 1792), (64, 0.1, 8), (40, 0.3, 16)],
)
def test_channels_are_multiples_of_8_and_at_most_a_tenth_less_than_asked_for(
    count: int, multiplier: float, expected: int
) -> None:
    assert convolution.channels(count, multiplier) == expected


def _made(block: Any, **options: Any) -> Any:
    keras = load_keras()
    entry = keras.Input((8, 8, 32))
    return keras.Model(entry, block(entry, options.pop("config", layers.LayerConfig()), seed_of=layers.seeds(0)))


def test_convolution_batch_norm_and_relu_are_layers_of_their_own_in_this_order() -> None:
    def block(x: Any, config: layers.LayerConfig, seed_of: Any) -> Any:
        return convolution.convolution(x, config, 16, 3, "one", seed_of, strides=2, activation="relu6")

    model = _made(block)
    assert [layer.name for layer in model.layers[1:]] == ["one", "one_bn", "one_relu"]
    assert model.output_shape == (None, 4, 4, 16)
    assert not model.get_layer("one").use_bias
    assert model.get_layer("one_relu").max_value == 6
    plain = _made(block, config=layers.LayerConfig(batch_norm=False))
    assert [layer.name for layer in plain.layers[1:]] == ["one", "one_relu"]
    assert plain.get_layer("one").use_bias


def test_depthwise_kernel_starts_as_one_that_sees_nine_numbers() -> None:
    model = _made(lambda x, config, seed_of: convolution.depthwise(x, config, "one", seed_of))
    (kernel,) = model.get_layer("one").get_weights()
    # he_normal: the variance is 2 over what a kernel sees
    assert float(np.var(kernel)) == pytest.approx(2 / 9, rel=0.25)


def test_penalty_of_the_config_is_on_depthwise_kernels_too() -> None:
    model = _made(
        lambda x, config, seed_of: convolution.depthwise(x, config, "one", seed_of), config=layers.LayerConfig(l2=0.5)
    )
    assert float(model.get_layer("one").depthwise_regularizer.l2) == 0.5
