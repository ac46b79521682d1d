from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.data import augment
from pipeline.data.augment import AugmentConfig
from pipeline.errors import InputError
from pipeline.legacy_keras import load as load_keras

IMAGES = np.random.default_rng(0).random((6, 8, 8, 2), np.float32)
HALF = np.full((6, augment.DRAWS), 0.5)  # no shift, no turn, no zoom, no flip, crop in the middle


def _apply(draws: np.ndarray, **options: Any) -> np.ndarray:
    load_keras()
    maps = augment.transforms(draws, AugmentConfig(**options), 8, 8)
    changed: np.ndarray = augment.apply(IMAGES, maps, -1.0).numpy()
    return changed


def _draw(column: int, value: float) -> np.ndarray:
    draws = HALF.copy()
    draws[:, column] = value
    return draws


def test_image_stays_as_it_is_when_every_draw_is_in_the_middle() -> None:
    changed = _apply(HALF, shift_pixels=3, rotate_degrees=90, zoom=0.5, flip="both")
    assert np.allclose(changed, IMAGES, atol=1e-5)


def test_shift_moves_by_pixels_and_fills_with_the_background() -> None:
    changed = _apply(_draw(0, 1.0), shift_pixels=2)
    assert np.allclose(changed[:, :, :6], IMAGES[:, :, 2:], atol=1e-5)
    assert np.all(changed[:, :, 6:] == -1)


def test_rotation_by_ninety_degrees_is_a_quarter_turn() -> None:
    changed = _apply(_draw(2, 1.0), rotate_degrees=90)
    assert np.allclose(changed, np.rot90(IMAGES, 1, axes=(1, 2)), atol=1e-4)


@pytest.mark.parametrize(("flip", "column", "axis"), [("horizontal", 4, 2), ("vertical", 5, 1)])
def test_flip_mirrors_the_axis_it_names_and_no_other(flip: str, column: int, axis: int) -> None:
    draws = _draw(4, 0.0)
    draws[:, 5] = 0.0
    assert np.allclose(_apply(draws, flip=flip), np.flip(IMAGES, axis), atol=1e-5)
    assert np.allclose(_apply(_draw(column, 0.0), flip="both"), np.flip(IMAGES, axis), atol=1e-5)


def test_zoom_magnifies_about_the_centre() -> None:
    draws = _draw(3, 1.0)
    maps = augment.transforms(draws, AugmentConfig(zoom=0.25), 8, 8)
    assert np.allclose(maps[0], [0.8, 0, 0.7, 0, 0.8, 0.7, 0, 0])


def test_crop_never_shows_what_is_outside_the_image() -> None:
    draws = np.random.default_rng(1).random((6, augment.DRAWS))
    assert _apply(draws, crop_pixels=3).min() >= IMAGES.min() - 1e-5
    assert not np.allclose(_apply(draws, crop_pixels=3), IMAGES, atol=0.1)


@pytest.mark.parametrize(("key", "value"), [("shift_pixels", 8), ("crop_pixels", 9)])
def test_augmentation_is_refused_when_nothing_would_be_left(key: str, value: int) -> None:
    with pytest.raises(InputError, match=f"data.augment.{key} leaves nothing of the image") as refused:
        augment.check(AugmentConfig.model_validate({key: value}), (8, 9, 1))
    assert refused.value.expected == "less than 8, the shorter side"
    assert refused.value.found == str(value)


def test_augmentation_is_refused_when_inputs_are_no_images() -> None:
    with pytest.raises(InputError, match="the inputs are none"):
        augment.check(AugmentConfig(), (30,))
