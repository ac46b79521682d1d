from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.data import DataConfig, Split, batches
from pipeline.data.augment import AugmentConfig
from pipeline.legacy_keras import load as load_keras
from pipeline.predictor import classifier

SPEC = classifier("image", (4, 4, 1), (0, 1), ("a", "b"))
PART = Split(np.random.default_rng(0).random((10, 4, 4, 1), np.float32), np.arange(10))
AUGMENT = AugmentConfig(shift_pixels=1, rotate_degrees=30)


@pytest.fixture(scope="module", autouse=True)
def _keras() -> None:
    load_keras()


def _read(config: DataConfig, first: int = 0, last: int = 3, size: int = 4, seed: int = 0) -> list[Any]:
    read = batches.training(PART, SPEC, config, batch_size=size, seed=seed, first_epoch=first, last_epoch=last)
    return list(read.as_numpy_iterator())


def _labels(found: list[Any]) -> list[int]:
    return [int(label) for _, y in found for label in y]


def test_each_epoch_holds_every_sample_once_and_ends_with_the_smaller_batch() -> None:
    found = _read(DataConfig())
    assert [len(y) for _, y in found] == [4, 4, 2] * 3
    for epoch in range(3):
        assert sorted(_labels(found[3 * epoch : 3 * epoch + 3])) == list(range(10))
    for x, y in found:
        assert np.array_equal(x, PART.x[y])


def test_epochs_differ_and_seeds_differ() -> None:
    labels = _labels(_read(DataConfig()))
    assert labels[:10] != labels[10:20]
    assert labels != _labels(_read(DataConfig(), seed=1))


@pytest.mark.parametrize("cache", [True, False])
def test_a_later_start_sees_what_an_earlier_one_saw(cache: bool) -> None:
    config = DataConfig(augment=AUGMENT, cache=cache)
    whole, rest = _read(config), _read(config, first=1)
    for (x, y), (later_x, later_y) in zip(whole[3:], rest, strict=True):
        assert np.array_equal(y, later_y)
        assert np.array_equal(x, later_x)


def test_augmentation_of_a_sample_does_not_depend_on_batches_or_options_of_reading() -> None:
    def by_label(found: list[Any]) -> dict[int, np.ndarray]:
        return {int(label): image for x, y in found for image, label in zip(x, y, strict=True)}

    one = by_label(_read(DataConfig(augment=AUGMENT), last=1))
    two = by_label(_read(DataConfig(augment=AUGMENT, cache=False, prefetch=0, shuffle_buffer=2), last=1, size=3))
    assert all(np.array_equal(one[label], two[label]) for label in range(10))
    assert not np.allclose(one[0], PART.x[0])


def test_order_is_kept_when_the_buffer_is_zero_and_near_when_it_is_small() -> None:
    assert np.array_equal(batches.epoch_order(100, 0, 0, 0), np.arange(100))
    near = batches.epoch_order(100, 0, 0, 5)
    assert sorted(near) == list(range(100))
    assert 0 < np.abs(near - np.arange(100)).max() <= 5


def test_evaluation_is_in_order_and_never_augmented() -> None:
    found = list(batches.evaluation(PART, SPEC, DataConfig(augment=AUGMENT), batch_size=4).as_numpy_iterator())
    assert np.array_equal(np.concatenate([x for x, _ in found]), PART.x)
    assert _labels(found) == list(range(10))


def test_nothing_tunes_a_dataset_beside_the_training_that_would_have_to_wait_for_it() -> None:
    config = DataConfig(augment=AUGMENT)
    training = batches.training(PART, SPEC, config, batch_size=4, seed=0, first_epoch=0, last_epoch=3)
    for dataset in (training, batches.evaluation(PART, SPEC, config, batch_size=4)):
        assert dataset.options().autotune.enabled is False


@pytest.mark.parametrize("workers", [2, 3])
def test_workers_together_see_the_samples_of_each_batch_once_and_in_its_order(workers: int) -> None:
    config = DataConfig(augment=AUGMENT)
    whole = _read(config)
    each = [
        batches.training(
            PART, SPEC, config, batch_size=4, seed=0, first_epoch=0, last_epoch=3,
            parts=batches.Parts(index, 1, workers),
        ).take(len(whole)).as_numpy_iterator()
        for index in range(workers)
    ]  # fmt: skip
    for (x, y), *parts in zip(whole, *each, strict=True):
        # where parts differ in size each has its weight, and an empty one a sample that weighs nothing
        real = [part[:2] if len(part) == 2 else [side[part[2] > 0] for side in part[:2]] for part in parts]
        assert np.array_equal(np.concatenate([part[1] for part in real]), y)
        assert np.array_equal(np.concatenate([part[0] for part in real]), x)
        for part in parts:
            if len(part) == 3:
                size = np.count_nonzero(part[2])
                assert np.allclose(part[2], size * workers / len(y))
