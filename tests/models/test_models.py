from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

import models
from models import ModelConfig, cnn, mlp
from pipeline.errors import InputError
from pipeline.predictor import classifier

SPEC = classifier("image", (8, 8, 1), (0, 16), tuple("0123456789"))


def _names(model: Any) -> list[str]:
    return [layer.name for layer in model.layers]


@pytest.mark.parametrize("config", [cnn.Config(filters=(4,)), mlp.Config(dense=(8,))], ids=["cnn", "mlp"])
def test_model_goes_from_named_raw_input_to_logits(config: Any) -> None:
    model = models.build(config, SPEC, 0)
    assert model.input.name == "image"
    assert _names(model)[:2] == ["image", "rescaling"]
    assert _names(model)[-1] == "logits"
    assert model.output_shape == (None, 10)
    scaled = model.get_layer("rescaling")(np.array([0.0, 8, 16])).numpy()
    assert np.allclose(scaled, [0, 0.5, 1])


def test_cnn_has_convolution_batch_norm_and_relu_as_layers_of_their_own_in_this_order() -> None:
    model = models.build(cnn.Config(filters=(4, 8), dropout=0.1, dense=(6,)), SPEC, 0)
    assert _names(model)[2:] == [
        "conv_1", "bn_1", "relu_1", "pool_1", "conv_2", "bn_2", "relu_2", "pool_2", "flatten", "dropout_0",
        "dense_1", "dense_bn_1", "dense_relu_1", "dropout_1", "logits",
    ]  # fmt: skip
    assert model.get_layer("conv_1").activation.__name__ == "linear"
    assert not model.get_layer("conv_1").use_bias
    assert model.get_layer("bn_1").momentum == 0.9


def test_cnn_has_relu_inside_the_convolution_when_there_is_no_batch_norm() -> None:
    model = models.build(
        cnn.Config(filters=(4, 8), convolutions=2, poolings=1, head="average", batch_norm=False), SPEC, 0
    )
    assert _names(model)[2:] == ["conv_1", "conv_2", "pool_1", "conv_3", "conv_4", "average", "logits"]
    assert model.get_layer("conv_4").activation.__name__ == "relu"
    assert model.get_layer("conv_4").use_bias


def test_cnn_halves_by_strides_of_the_last_convolutions_when_no_pooling_is_wanted() -> None:
    model = models.build(cnn.Config(filters=(4, 8), convolutions=2, poolings=1, halving="stride"), SPEC, 0)
    strides = {place: model.get_layer(f"conv_{place}").strides for place in (1, 2, 3, 4)}
    assert strides == {1: (1, 1), 2: (2, 2), 3: (1, 1), 4: (1, 1)}
    assert not any("pool" in name for name in _names(model))
    assert model.get_layer("relu_4").output_shape[1:] == (4, 4, 8)
    pooled = models.build(cnn.Config(filters=(4, 8), convolutions=2, poolings=1), SPEC, 0)
    assert [array.shape for array in model.get_weights()] == [array.shape for array in pooled.get_weights()]


def test_strides_halve_odd_sides_up() -> None:
    model = models.build(
        cnn.Config(filters=(4, 4, 4), halving="stride"), classifier("image", (28, 28, 1), (0, 1), ("a", "b")), 0
    )
    assert [model.get_layer(f"conv_{place}").output_shape[1] for place in (1, 2, 3)] == [14, 7, 4]


def test_mlp_has_initializer_and_penalties_of_its_config() -> None:
    config = mlp.Config(dense=(8, 8), initializer="glorot_uniform", l1=0.25, l2=0.5, dropout=0.5)
    layer = models.build(config, SPEC, 0).get_layer("dense_2")
    assert type(layer.kernel_initializer).__name__ == "GlorotUniform"
    assert (float(layer.kernel_regularizer.l1), float(layer.kernel_regularizer.l2)) == (0.25, 0.5)


def test_weights_depend_on_the_seed_alone() -> None:
    config = cnn.Config(filters=(4, 4))
    once, again, other = (models.build(config, SPEC, seed).get_weights() for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(once, again, strict=True))
    assert not np.array_equal(once[0], other[0])
    assert not np.array_equal(once[0].ravel()[:4], once[5].ravel()[:4])


def test_cnn_is_refused_when_the_image_cannot_be_halved_that_often() -> None:
    with pytest.raises(InputError, match="too many blocks for the size of the images") as refused:
        models.build(cnn.Config(filters=(4, 4, 4, 4)), SPEC, 0)
    assert refused.value.expected == "at most 3 poolings for images of 8x8 pixels"
    assert refused.value.found == "4 poolings"
    assert "model.poolings to 3" in refused.value.todo


def test_cnn_is_built_when_only_possible_poolings_are_asked_for() -> None:
    assert models.build(cnn.Config(filters=(4, 4, 4, 4), poolings=3), SPEC, 0).get_layer("pool_3").output_shape[1] == 1


def test_cnn_is_refused_when_there_are_more_poolings_than_blocks() -> None:
    with pytest.raises(InputError, match=r"model.poolings is more than there are blocks") as refused:
        models.check(cnn.Config(filters=(4,), poolings=2), (8, 8, 1))
    assert refused.value.expected == "at most 1, the number of blocks in model.filters"


def test_cnn_is_refused_when_inputs_are_no_images() -> None:
    with pytest.raises(InputError, match="'cnn' takes images") as refused:
        models.check(cnn.Config(), (30,))
    assert refused.value.todo == "set model.architecture to mlp"


def test_config_survives_a_round_trip_and_refuses_keys_of_another_architecture() -> None:
    adapter: TypeAdapter[ModelConfig] = TypeAdapter(ModelConfig)
    for config in (cnn.Config(filters=(1, 2)), mlp.Config(dense=(3,))):
        assert adapter.validate_python(adapter.dump_python(config, mode="json")) == config
    with pytest.raises(ValidationError, match="filters"):
        adapter.validate_python({"architecture": "mlp", "filters": [4]})


def test_check_loads_no_tensorflow() -> None:
    code = (
        "import sys, models; models.check(models.cnn.Config(), (8, 8, 1)); "
        "sys.exit(bool({'tensorflow', 'tf_keras', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
