from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

import models
from models import efficientnet
from pipeline.errors import InputError
from pipeline.legacy_keras import load as load_keras
from pipeline.measuring import footprint
from pipeline.predictor import Spec, classifier

THIN: dict[str, Any] = {"width_multiplier": 0.1}
WEIGHTY = ("Conv2D", "DepthwiseConv2D", "Dense")


def _spec(side: int, classes: int = 2) -> Spec:
    return classifier("image", (side, side, 3), (0, 255), tuple(str(place) for place in range(classes)))


def _shapes(model: Any) -> list[tuple[str, list[tuple[int, ...]]]]:
    """Return kind and shapes of the weights of each layer that multiplies."""
    return [
        (type(layer).__name__, [tuple(weight.shape) for weight in layer.weights])
        for layer in model.layers
        if type(layer).__name__ in WEIGHTY
    ]


@pytest.mark.long
@pytest.mark.parametrize(("variant", "side"), [("b0", 224), ("b1", 240), ("b2", 260), ("b3", 300)])
def test_network_has_the_layers_parameters_and_macs_of_keras_applications(variant: Any, side: int) -> None:
    ours = models.build(efficientnet.Config(variant=variant), _spec(side, 1000), 0)
    theirs = getattr(load_keras().applications, f"EfficientNet{variant.upper()}")(weights=None)
    assert _shapes(ours) == _shapes(theirs)
    # theirs has a Normalization besides: mean and variance of three colours, and how many samples they are of
    assert footprint.parameters(theirs) - footprint.parameters(ours) == 7
    counts = [footprint.macs(model) for model in (ours, theirs)]
    assert [count.unknown for count in counts] == [(), ()]
    assert counts[0].total == counts[1].total


def test_block_expands_filters_excites_and_projects_without_an_activation() -> None:
    model = models.build(efficientnet.Config(blocks=3, **THIN), _spec(32), 0)
    names = [layer.name for layer in model.layers if layer.name.startswith("block_3")]
    assert names == [
        *(f"block_3_{part}{end}" for part in ("expand", "depthwise") for end in ("", "_bn", "_swish")),
        "block_3_squeeze", "block_3_reduce", "block_3_reduce_swish", "block_3_restore", "block_3_sigmoid",
        "block_3_excite", "block_3_project", "block_3_project_bn", "block_3_add",
    ]  # fmt: skip
    assert model.get_layer("block_3_expand").filters == 6 * 8
    assert model.get_layer("block_3_reduce").filters == 2  # a quarter of what comes to the block
    assert model.get_layer("block_3_squeeze").output_shape == (None, 1, 1, 48)
    assert type(model.get_layer("block_3_excite")).__name__ == "Multiply"
    assert "block_1_expand" not in [layer.name for layer in model.layers]


def test_network_has_relu6_and_no_products_when_asked_for_what_is_integer_throughout() -> None:
    lite = efficientnet.Config(activation="relu6", squeeze_excite=False, **THIN)
    model = models.build(lite, _spec(32), 0)
    kinds = {type(layer).__name__ for layer in model.layers}
    assert kinds & {"Multiply", "Activation", "GlobalAveragePooling2D", "ReLU"} == {"GlobalAveragePooling2D", "ReLU"}
    assert {float(layer.max_value) for layer in model.layers if type(layer).__name__ == "ReLU"} == {6}
    assert model.get_layer("block_3_depthwise").kernel_size == (3, 3)
    assert model.get_layer("block_4_depthwise").kernel_size == (5, 5)


@pytest.mark.parametrize(("variant", "blocks"), [("b0", 16), ("b1", 23), ("b2", 23), ("b3", 26)])
def test_efficientnet_is_refused_when_it_has_not_so_many_blocks(variant: Any, blocks: int) -> None:
    efficientnet.Config(variant=variant, blocks=blocks)
    with pytest.raises(ValidationError, match=f"blocks is {blocks + 1}, but {variant} has {blocks}"):
        efficientnet.Config(variant=variant, blocks=blocks + 1)


@pytest.mark.parametrize(
    ("side", "options", "expected"),
    [
        (96, {}, [48, 48, 24, 24, 12, 12, 6, 6, 6, 6, 6, 6, 3, 3, 3, 3, 3]),
        (32, {}, [32, 32, 32, 32, 16, 16, 8, 8, 8, 8, 8, 8, 4, 4, 4, 4, 4]),
        (8, {"blocks": 4, "reduction": 8}, [4, 4, 2, 2, 1]),
        (8, {"blocks": 2, "reduction": 1}, [8, 8, 8]),
    ],
)
def test_first_strides_are_left_out_for_the_reduction(side: int, options: dict[str, Any], expected: list[int]) -> None:
    model = models.build(efficientnet.Config(squeeze_excite=False, **options, **THIN), _spec(side), 0)
    sides = [layer.output_shape[1] for layer in model.layers if layer.name.endswith(("stem", "depthwise"))]
    assert sides == expected


def test_efficientnet_is_refused_when_the_reduction_is_impossible() -> None:
    with pytest.raises(InputError, match=r"model.reduction is more than this efficientnet can do") as refused:
        models.check(efficientnet.Config(reduction=16), (8, 9, 1))
    assert refused.value.expected == "at most 8 for images of 8x9 pixels and 16 blocks"
    models.check(efficientnet.Config(reduction=8), (8, 9, 1))


def test_efficientnet_is_refused_when_inputs_are_no_images() -> None:
    with pytest.raises(InputError, match="'efficientnet' takes images"):
        models.check(efficientnet.Config(), (30,))
