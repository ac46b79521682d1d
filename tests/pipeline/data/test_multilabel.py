from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import data
from pipeline.data import DataConfig, multilabel
from pipeline.data.split import NAMES
from pipeline.errors import InputError
from tests import labels


def _config(path: Path, **more: Any) -> DataConfig:
    return DataConfig.model_validate({"source": "npz", "path": str(path), "task": "multilabel", **more})


def _written(path: Path, y: np.ndarray) -> DataConfig:
    np.savez(path, x_train=np.random.default_rng(0).random((len(y), 3)), y_train=y)
    return _config(path)


def test_every_split_has_every_label_in_its_share(tmp_path: Path) -> None:
    x, y = labels.arrays()
    found = data.load(_config(labels.write(tmp_path / "x.npz"), classes=list(labels.LABELS)))
    assert found.spec.head.task == "multilabel"
    assert found.spec.head.classes == labels.LABELS
    assert found.spec.head.shape == (4,)
    assert sum(len(getattr(found, name)) for name in NAMES) == len(x)
    for name in NAMES:
        part = np.asarray(getattr(found, name).y)
        assert part.dtype == np.float32
        assert set(np.unique(part)) == {0.0, 1.0}
        assert part.mean(axis=0) == pytest.approx(y.mean(axis=0), abs=0.02)


@pytest.mark.parametrize("dtype", [np.uint8, np.bool_, np.float64, np.int32])
def test_zeros_and_ones_of_any_type_are_labels(dtype: type, tmp_path: Path) -> None:
    y = (np.random.default_rng(1).random((60, 3)) < 0.4).astype(dtype)
    found = data.load(_written(tmp_path / "x.npz", y))
    assert found.spec.head.classes == ("0", "1", "2")
    assert np.asarray(found.train.y).dtype == np.float32


def test_rare_labels_are_in_every_split(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    y = (random.random((400, 12)) < random.uniform(0.2, 0.5, 12)).astype(np.int64)
    y[:, 0] = 0
    y[random.choice(400, 8, replace=False), 0] = 1
    found = data.load(_written(tmp_path / "x.npz", y))
    for name in NAMES:
        assert (np.asarray(getattr(found, name).y).sum(axis=0) > 0).all(), name
    assert not [note for note in found.notes if "says nothing" in note]


def test_folds_keep_the_shares_of_labels(tmp_path: Path) -> None:
    path, y = labels.write(tmp_path / "x.npz"), labels.arrays()[1]
    tested = []
    for index in range(5):
        found = data.load(_config(path, split={"fold": {"index": index, "of": 5}}))
        tested.append(len(found.test))
        assert np.asarray(found.test.y).mean(axis=0) == pytest.approx(y.mean(axis=0), abs=0.02)
    assert sum(tested) == len(y)


@pytest.mark.parametrize(
    ("y", "what", "found"),
    [
        (np.full((40, 2), 2) - np.eye(40, 2, dtype=int), "the labels are not all 0 or 1", "78 of 80 values, such as 2"),
        (np.eye(40, 3) * 0.5, "the labels are not all 0 or 1", "3 of 120 values, such as 0.5"),
        (np.zeros((40, 2), int), "some labels cannot be learned", "0 in 0 of 24, 1 in 0 of 24"),
        (np.zeros(40, int), "do not fit", "y_train has the shape [40]"),
        (np.zeros((40, 1), int), "do not fit", "y_train has the shape [40, 1]"),
    ],
    ids=["twos", "halves", "none", "classes", "column"],
)
def test_labels_that_are_no_table_of_zeros_and_ones_are_refused_with_counts(
    y: np.ndarray, what: str, found: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as caught:
        data.load(_written(tmp_path / "x.npz", y))
    assert what in caught.value.what
    assert caught.value.found == found


def test_names_of_labels_have_to_be_as_many_as_columns(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data\.classes does not name the labels") as caught:
        data.load(_config(labels.write(tmp_path / "x.npz"), classes=["a", "b"]))
    assert (caught.value.expected, caught.value.found) == ("4 names, one for each column of labels", "2 names")


def test_split_in_which_a_label_never_is_is_told() -> None:
    y = np.array([[1, 0], [0, 1], [1, 1], [0, 0], [1, 0], [0, 0]])
    there = {"train": np.arange(4), "validation": np.array([4, 5]), "calibration": np.array([5])}
    assert list(multilabel.told(y, ["a", "b"], there)) == [  # type: ignore[arg-type]
        "the validation split says nothing of some labels: b in 0 of 2 samples"
    ]


def test_strata_have_samples_for_every_split_whatever_the_combinations() -> None:
    random = np.random.default_rng(3)
    for count, width in ((100, 2), (100, 12), (40, 6), (20, 3)):
        y = (random.random((count, width)) < 0.3).astype(np.int8)
        sizes = np.bincount(multilabel.strata(y, 0))
        assert sizes[sizes > 0].min() >= 8
