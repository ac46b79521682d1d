from __future__ import annotations

from typing import Any

import pytest

import models
from models import ds_cnn
from pipeline.errors import InputError
from pipeline.predictor import classifier


@pytest.mark.parametrize(
    ("shape", "options", "kernel", "last"),
    [
        ((49, 10, 1), {}, (10, 4), (25, 5)),
        ((49, 10, 1), {"strides": (2, 1), "block_stride": 2}, (10, 4), (13, 5)),
        ((8, 3, 2), {}, (8, 3), (4, 2)),
        ((32, 32, 3), {"kernel_size": (3, 3)}, (3, 3), (16, 16)),
        ((16, 1, 1), {}, (10, 1), (8, 1)),
    ],
)
def test_ds_cnn_fits_any_map(shape: Any, options: dict[str, Any], kernel: Any, last: Any) -> None:
    spec = classifier("image", shape, (0, 1), tuple("01"))
    model = models.build(ds_cnn.Config(filters=4, blocks=2, **options), spec, 0)
    assert model.get_layer("stem").kernel_size == kernel
    assert model.get_layer("block_2_pointwise_relu").output_shape[1:3] == last


def test_ds_cnn_is_refused_when_its_kernel_is_larger_than_the_map() -> None:
    with pytest.raises(InputError, match=r"model.kernel_size is larger than the map") as refused:
        models.check(ds_cnn.Config(kernel_size=(3, 9)), (8, 8, 1))
    assert (refused.value.expected, refused.value.found) == ("at most 8x8, as the inputs are", "3x9")


def test_ds_cnn_is_refused_when_inputs_are_no_maps() -> None:
    with pytest.raises(InputError, match="'ds_cnn' takes images"):
        models.check(ds_cnn.Config(), (30,))
