"""Data that is larger than the memory it may take: the same splits, batches and answers, read from the disk."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from pipeline import data
from pipeline.data import DataConfig, Splits, batches
from pipeline.data.divide import divide
from pipeline.data.sources.source import Source, Target
from pipeline.predictor import in_memory, rows
from pipeline.rows import Rows

COUNT = 3000


def _source(folder: Path) -> Source:
    """3,000 images of 24x24, 6.9 MB as float32, mapped from a file of bytes."""
    random = np.random.default_rng(0)
    np.save(folder / "x.npy", random.integers(0, 256, (COUNT, 24, 24, 1), np.uint8))
    x = np.load(folder / "x.npy", mmap_mode="r")
    return Source({"image": x}, {"": Target(np.arange(COUNT) % 3, ("a", "b", "c"))})


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Splits, Splits]:
    """The splits on the disk, and those in memory."""
    source = _source(tmp_path_factory.mktemp("large"))
    return divide(source, DataConfig(memory_mb=1)), divide(source, DataConfig())


def test_what_is_larger_than_memory_stays_on_the_disk_and_the_rest_is_the_same(both: tuple[Splits, Splits]) -> None:
    disk, memory = both
    assert isinstance(disk.train.x, Rows)
    assert isinstance(memory.train.x, np.ndarray)
    assert in_memory(disk.calibration.x)  # converters want all of it
    assert disk.spec == memory.spec
    for name in ("train", "validation", "calibration", "test"):
        one, other = getattr(disk, name), getattr(memory, name)
        assert np.array_equal(rows(one.x, slice(None)), other.x)
        assert np.array_equal(one.y, other.y)


def test_batches_from_the_disk_are_those_from_memory(both: tuple[Splits, Splits]) -> None:
    config = DataConfig()

    def read(splits: Splits) -> tuple[list[np.ndarray], list[np.ndarray]]:
        training = batches.training(
            splits.train, splits.spec, config, batch_size=256, seed=1, first_epoch=0, last_epoch=2
        )
        evaluation = batches.evaluation(splits.validation, splits.spec, config, batch_size=100)
        return [x.numpy() for x, _ in training], [x.numpy() for x, _ in evaluation]

    for one, other in zip(map(read, both[:1]), map(read, both[1:]), strict=True):
        for side, twin in zip(one, other, strict=True):
            assert len(side) == len(twin)
            assert all(np.array_equal(batch, again) for batch, again in zip(side, twin, strict=True))


def test_a_model_answers_samples_on_the_disk_as_those_in_memory(both: tuple[Splits, Splits]) -> None:
    from pipeline.legacy_keras import load as load_keras

    keras = load_keras()
    model = keras.Sequential([keras.Input((24, 24, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
    disk, memory = (batches.predict(model, splits.validation.x, batch_size=64) for splits in both)
    assert np.array_equal(disk, memory)


@pytest.mark.parametrize("shape", [(COUNT, 200), (COUNT, 16, 16)], ids=["numbers", "images"])
def test_another_process_reads_what_this_one_reads_whatever_the_order_in_the_file(
    shape: tuple[int, ...], tmp_path: Path
) -> None:
    # as a table's columns lie in memory: numpy.save keeps that order
    x = np.asfortranarray(np.random.default_rng(0).random(shape, np.float32))
    np.save(tmp_path / "x_train.npy", x)
    np.save(tmp_path / "y_train.npy", np.arange(COUNT) % 3)
    for tested in (False, True):
        if tested:
            np.save(tmp_path / "x_test.npy", x[:50])
            np.save(tmp_path / "y_test.npy", np.arange(50) % 3)
        part = data.load(DataConfig(source="npy", path=str(tmp_path), memory_mb=1)).train
        assert isinstance(part.x, Rows)
        assert np.array_equal(pickle.loads(pickle.dumps(part.x))[:], part.x[:])


def test_another_process_opens_the_file_itself(both: tuple[Splits, Splits]) -> None:
    sent = pickle.dumps(both[0].test.x)
    assert len(sent) < 20_000  # the positions, not the pixels
    assert np.array_equal(pickle.loads(sent)[:], both[1].test.x)


def test_samples_that_are_not_finite_are_counted_on_the_disk_too(tmp_path: Path) -> None:
    from pipeline.errors import InputError

    x = np.random.default_rng(0).random((COUNT, 100), np.float32)
    x[5, 7] = x[6, 8] = np.nan
    np.save(tmp_path / "x.npy", x)
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    source = Source({"features": x}, {"": Target(np.arange(COUNT) % 2, ("a", "b"))}, {"test": np.arange(100)})
    with pytest.raises(InputError, match="not finite") as refused:
        divide(source, DataConfig(memory_mb=1, value_range=(0, 1)))
    assert refused.value.found == (
        "2 such values in the test split, in the input features, first in sample 5 of the data (counted from 0)"
    )


def test_npz_larger_than_memory_is_unpacked_once_and_read_from_there(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (COUNT, 24, 24), np.uint8)
    np.savez_compressed(tmp_path / "own.npz", x_train=x, y_train=np.arange(COUNT) % 3)
    config = DataConfig(source="npz", path=str(tmp_path / "own.npz"))
    small = config.model_copy(update={"memory_mb": 1})
    assert data.decoded(config, tmp_path) is None
    disk, memory = data.load(small, tmp_path), data.load(config, tmp_path)
    folder = data.decoded(small, tmp_path)
    assert folder is not None
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "x_train.npy", "y_train.npy"]
    assert isinstance(disk.train.x, Rows)
    assert np.array_equal(disk.train.x[:], memory.train.x)
    assert np.array_equal(disk.train.y, memory.train.y)


def test_calibration_samples_are_as_many_as_fit_and_that_is_said(tmp_path: Path) -> None:
    array = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.uint8, (2000, 512, 512, 1))
    array[:, 0, 0, 0] = np.arange(2000) % 256  # the rest is a hole in the file
    source = Source(
        {"image": np.load(tmp_path / "x.npy", mmap_mode="r")}, {"": Target(np.arange(2000) % 2, ("a", "b"))}
    )
    splits = divide(source, DataConfig())
    assert len(splits.calibration) == 50
    assert "50 of 100 calibration samples are used: 64 MB, which converters hold" in splits.notes
    roomy = divide(source, DataConfig(memory_mb=100_000)).calibration
    assert np.array_equal(roomy.y, splits.calibration.y)  # whatever memory there is


@pytest.mark.parametrize("task", ["reconstruction", "anomaly"])
def test_what_gives_samples_back_learns_the_same_from_the_disk(task: str, tmp_path: Path) -> None:
    small, large = DataConfig.model_validate({"task": task, "memory_mb": 1}), DataConfig.model_validate({"task": task})
    if task == "anomaly":
        small, large = (one.model_copy(update={"anomaly": ("c",)}) for one in (small, large))
    source = _source(tmp_path)

    def read(config: DataConfig) -> tuple[list[np.ndarray], list[np.ndarray]]:
        splits = divide(source, config)
        training = batches.training(
            splits.train, splits.spec, config, batch_size=256, seed=1, first_epoch=0, last_epoch=1
        )
        evaluation = batches.evaluation(splits.validation, splits.spec, config, batch_size=100)
        return [y.numpy() for _, y in training], [y.numpy() for _, y in evaluation]

    for one, other in zip(read(small), read(large), strict=True):
        assert len(one) == len(other)
        assert all(np.array_equal(batch, again) for batch, again in zip(one, other, strict=True))
        assert all(0 <= batch.min() < batch.max() <= 1 for batch in one)
