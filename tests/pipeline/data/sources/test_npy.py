from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import data
from pipeline.data import DataConfig
from pipeline.data.sources import npy
from pipeline.errors import InputError
from pipeline.rows import Joined, Rows
from tests.pipeline.data.sources.preparing import no_need


def _write(folder: Path, **arrays: Any) -> DataConfig:
    folder.mkdir(exist_ok=True)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return DataConfig(source="npy", path=str(folder))


def _arrays() -> dict[str, np.ndarray]:
    labels = np.arange(60) % 3
    images = np.broadcast_to(labels.reshape(-1, 1, 1), (60, 4, 5)).astype(np.uint8)
    return {"x_train": images, "y_train": labels, "x_test": images[:20] + 100, "y_test": labels[:20]}


def test_a_folder_of_arrays_reads_as_an_npz_with_them_and_stays_on_the_disk(tmp_path: Path) -> None:
    config = _write(tmp_path / "arrays", **_arrays())
    np.savez(tmp_path / "arrays.npz", **_arrays())
    splits, others = data.load(config), data.load(DataConfig(source="npz", path=str(tmp_path / "arrays.npz")))
    assert splits.spec == others.spec
    for name in ("train", "validation", "calibration", "test"):
        here, there = getattr(splits, name), getattr(others, name)
        assert np.array_equal(here.x, there.x)
        assert np.array_equal(here.y, there.y)
    assert isinstance(npy.load(config, no_need).x["image"], Joined)
    assert data.input_shapes(config) == {"image": (4, 5, 1)}
    assert [path.name for path in npy.files(config)] == ["x_train.npy", "y_train.npy", "x_test.npy", "y_test.npy"]
    alone = _write(tmp_path / "alone", **{name: _arrays()[name] for name in ("x_train", "y_train")})
    assert isinstance(npy.load(alone, no_need).x["image"], np.memmap)


def test_samples_that_memory_is_too_small_for_are_read_where_they_lie(tmp_path: Path) -> None:
    arrays = {name: np.repeat(np.repeat(array, 30, 1), 40, 2) if array.ndim > 1 else array
              for name, array in _arrays().items()}  # fmt: skip
    config = _write(tmp_path / "arrays", **arrays)
    splits = data.load(config.model_copy(update={"memory_mb": 1}))
    assert isinstance(splits.test.x, Rows)
    assert np.array_equal(splits.test.x[:][..., 0], arrays["x_test"])
    elsewhere = pickle.loads(pickle.dumps(splits.test.x))  # as another process gets them
    assert np.array_equal(elsewhere[3:5], splits.test.x[3:5])


def test_what_is_damaged_absent_or_pickled_is_refused(tmp_path: Path) -> None:
    arrays = _arrays()
    with pytest.raises(InputError, match=r"the data folder .* lacks y_train"):
        data.load(_write(tmp_path / "a", x_train=arrays["x_train"]))
    with pytest.raises(InputError, match="x_train and y_train differ in length"):
        data.load(_write(tmp_path / "b", x_train=arrays["x_train"], y_train=arrays["y_test"]))
    config = _write(tmp_path / "c", x_train=arrays["x_train"], y_train=np.array([{}] * 60))
    with pytest.raises(InputError, match=r"y_train\.npy is not a readable \.npy file"):
        data.load(config)
    (tmp_path / "c" / "y_train.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(InputError, match=r"y_train\.npy is not a readable \.npy file"):
        data.load(config)
    with pytest.raises(InputError, match=r"the data folder .*none cannot be read"):
        data.content_hash(DataConfig(source="npy", path=str(tmp_path / "none")))


@pytest.mark.parametrize(
    "index",
    [3, -1, slice(2, 7), slice(None, None, -2), np.array([8, 0, 5, 5]), np.array([[1, 6], [4, 3]]), np.empty(0, int)],
)
def test_joined_arrays_are_indexed_as_one(index: Any) -> None:
    whole = np.arange(27).reshape(9, 3)
    joined = Joined([whole[:4], whole[4:4], whole[4:]])
    assert (joined.shape, joined.ndim, joined.size, joined.dtype) == (whole.shape, 2, 27, whole.dtype)
    assert np.array_equal(joined[index], whole[index])


def test_names_of_arrays_are_content_and_where_their_folder_lies_is_not(tmp_path: Path) -> None:
    found = _arrays()
    named = {"x_train_left": found["x_train"], "x_train_right": found["x_train"], "y_train": found["y_train"]}
    config = _write(tmp_path / "arrays", **named)
    before = data.content_hash(config)
    (tmp_path / "arrays").rename(tmp_path / "moved")
    config = config.model_copy(update={"path": str(tmp_path / "moved")})
    assert data.content_hash(config) == before
    (tmp_path / "moved" / "x_train_left.npy").rename(tmp_path / "moved" / "x_train_far.npy")
    assert data.content_hash(config) != before
