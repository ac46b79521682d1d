from __future__ import annotations

import pytest

import models
from models import resnet
from pipeline.errors import InputError
from pipeline.predictor import classifier

SPEC = classifier("image", (32, 32, 3), (0, 255), tuple("0123456789"))


def test_resnet_8_has_one_block_a_stack_with_a_projection_where_the_map_is_halved() -> None:
    model = models.build(resnet.Config(depth=8), SPEC, 0)
    names = [layer.name for layer in model.layers]
    assert [name for name in names if name.endswith("_add")] == [f"stack_{n}_block_1_add" for n in (1, 2, 3)]
    assert [name for name in names if name.endswith("_shortcut")] == [f"stack_{n}_block_1_shortcut" for n in (2, 3)]
    assert {type(model.get_layer(name)).__name__ for name in names if name.endswith("_add")} == {"Add"}
    shapes = [model.get_layer(f"stack_{n}_block_1_relu").output_shape[1:] for n in (1, 2, 3)]
    assert shapes == [(32, 32, 16), (16, 16, 32), (8, 8, 64)]


@pytest.mark.parametrize(("depth", "convolutions"), [(8, 7), (20, 19), (18, 17)])
def test_depth_is_the_number_of_layers_with_weights_without_the_projections(depth: int, convolutions: int) -> None:
    config = resnet.Config(depth=depth, width_multiplier=0.1, stem="small")  # type: ignore[arg-type]
    names = [layer.name for layer in models.build(config, SPEC, 0).layers if type(layer).__name__ == "Conv2D"]
    assert len([name for name in names if not name.endswith("_shortcut")]) == convolutions


def test_large_stem_makes_the_map_four_times_smaller_and_comes_with_depth_18() -> None:
    spec = classifier("image", (64, 64, 3), (0, 255), tuple("01"))
    model = models.build(resnet.Config(depth=18, width_multiplier=0.1), spec, 0)
    assert model.get_layer("stem_pool").output_shape[1:3] == (16, 16)
    small = models.build(resnet.Config(depth=18, width_multiplier=0.1, stem="small"), spec, 0)
    assert "stem_pool" not in [layer.name for layer in small.layers]


def test_resnet_is_refused_when_the_image_is_too_small() -> None:
    with pytest.raises(InputError, match="a resnet of depth 18 with a large stem") as refused:
        models.check(resnet.Config(depth=18), (28, 28, 1))
    assert refused.value.expected == "images of at least 32x32 pixels"
    assert refused.value.found == "28x28 pixels"
    assert refused.value.todo == "set model.stem to small"
    models.check(resnet.Config(depth=18, stem="small"), (28, 28, 1))
    with pytest.raises(InputError, match="makes the map 4 times smaller"):
        models.check(resnet.Config(), (2, 8, 1))


def test_resnet_is_refused_when_inputs_are_no_images() -> None:
    with pytest.raises(InputError, match="'resnet' takes images"):
        models.check(resnet.Config(), (30,))
