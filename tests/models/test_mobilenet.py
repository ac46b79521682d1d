from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

import models
from models import mobilenet
from pipeline.errors import InputError
from pipeline.predictor import Spec, classifier

THIN: dict[str, Any] = {"width_multiplier": 0.1}


def _spec(side: int) -> Spec:
    return classifier("image", (side, side, 3), (0, 255), tuple("01"))


def _sides(config: mobilenet.Config, side: int) -> list[int]:
    """Return the map's side behind the first convolution and behind each depthwise one."""
    model = models.build(config, _spec(side), 0)
    return [layer.output_shape[1] for layer in model.layers if layer.name == "stem" or layer.name.endswith("depthwise")]


def test_version_2_expands_filters_and_projects_without_an_activation() -> None:
    model = models.build(mobilenet.Config(blocks=3, **THIN), _spec(32), 0)
    names = [layer.name for layer in model.layers if layer.name.startswith("block_3")]
    assert names == [
        *(f"block_3_{part}{end}" for part in ("expand", "depthwise") for end in ("", "_bn", "_relu")),
        "block_3_project", "block_3_project_bn", "block_3_add",
    ]  # fmt: skip
    assert type(model.get_layer("block_3_add")).__name__ == "Add"
    assert model.get_layer("block_3_expand_relu").max_value == 6
    assert model.get_layer("block_3_expand").filters == 6 * 8
    assert "block_1_expand" not in [layer.name for layer in model.layers]
    assert model.get_layer("last").filters == 1280  # however thin the others are


def test_version_1_is_depthwise_and_pointwise_with_a_relu_behind_each() -> None:
    model = models.build(mobilenet.Config(version=1, blocks=1, **THIN), _spec(32), 0)
    assert [layer.name for layer in model.layers[5:11]] == [
        f"block_1_{part}{end}" for part in ("depthwise", "pointwise") for end in ("", "_bn", "_relu")
    ]
    assert model.get_layer("block_1_pointwise_relu").max_value is None


@pytest.mark.parametrize(
    ("version", "side", "options", "expected"),
    [
        (1, 96, {}, [48, 48, 24, 24, 12, 12, 6, 6, 6, 6, 6, 6, 3, 3]),
        (2, 96, {}, [48, 48, 24, 24, 12, 12, 12, 6, 6, 6, 6, 6, 6, 6, 3, 3, 3, 3]),
        (1, 32, {}, [32, 32, 32, 32, 16, 16, 8, 8, 8, 8, 8, 8, 4, 4]),
        (1, 8, {"blocks": 6}, [8, 8, 8, 8, 8, 8, 4]),
        (1, 8, {"blocks": 6, "reduction": 8}, [8, 8, 4, 4, 2, 2, 1]),
        (1, 8, {"blocks": 2, "reduction": 1}, [8, 8, 8]),
    ],
)
def test_first_strides_are_left_out_for_the_reduction(
    version: Any, side: int, options: dict[str, Any], expected: list[int]
) -> None:
    assert _sides(mobilenet.Config(version=version, **options, **THIN), side) == expected


@pytest.mark.parametrize(("options", "possible"), [({}, 8), ({"blocks": 2, "version": 1}, 4)])
def test_mobilenet_is_refused_when_the_reduction_is_impossible(options: dict[str, Any], possible: int) -> None:
    with pytest.raises(InputError, match=r"model.reduction is more than this mobilenet can do") as refused:
        models.check(mobilenet.Config(reduction=16, **options), (8, 9, 1))
    assert refused.value.expected.startswith(f"at most {possible} for images of 8x9 pixels and ")
    assert refused.value.found == "16"
    models.check(mobilenet.Config(reduction=possible, **options), (8, 9, 1))


def test_mobilenet_is_refused_when_it_has_not_so_many_blocks() -> None:
    with pytest.raises(ValidationError, match="blocks is 14, but version 1 has 13"):
        mobilenet.Config(version=1, blocks=14)


def test_mobilenet_is_refused_when_inputs_are_no_images() -> None:
    with pytest.raises(InputError, match="'mobilenet' takes images"):
        models.check(mobilenet.Config(), (30,))


@pytest.mark.parametrize("version", [1, 2])
def test_explicit_padding_changes_no_shape_and_pads_where_the_map_is_halved(version: int) -> None:
    options = {"version": version, **THIN}
    plain = mobilenet.Config.model_validate(options)
    padded = mobilenet.Config.model_validate(options | {"explicit_padding": True})
    assert _sides(padded, 96) == _sides(plain, 96)
    model = models.build(padded, _spec(96), 0)
    pads = [layer.name for layer in model.layers if type(layer).__name__ == "ZeroPadding2D"]
    halving = [layer.name for layer in model.layers if getattr(layer, "strides", None) == (2, 2)]
    assert pads == [f"{name}_pad" for name in halving]
    assert len(pads) == 5
    assert all(model.get_layer(name).padding == "valid" for name in halving)
