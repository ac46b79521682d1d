from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import data
from pipeline.data import DataConfig, batches
from pipeline.errors import InputError
from pipeline.legacy_keras import load as load_keras


def _digits(**more: Any) -> DataConfig:
    return DataConfig.model_validate({"task": "anomaly", "anomaly": ["9", "4"], **more})


def _npz(path: Path, **arrays: np.ndarray) -> DataConfig:
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return DataConfig(source="npz", path=str(path), task="anomaly")


def test_anomalies_are_in_validation_and_test_alone_in_proportion_to_these() -> None:
    found = data.load(_digits())
    assert (found.spec.head.task, found.spec.head.shape, found.spec.head.classes) == ("anomaly", (8, 8, 1), ())
    assert found.spec.kept == ("reconstruction", "score")
    assert not np.asarray(found.train.y).any()
    assert not np.asarray(found.calibration.y).any()
    validation, test = (np.asarray(part.y) for part in (found.validation, found.test))
    assert validation.dtype == np.int64
    anomalies = 180 + 181  # nines and fours
    assert validation.sum() + test.sum() == anomalies
    assert test.sum() / anomalies == pytest.approx(20 / 35, abs=0.01)
    assert sum(len(part) for part in (found.train, found.validation, found.calibration, found.test)) == 1797
    assert f"anomalies: {validation.sum()} of {len(validation)} validation samples" in found.notes[-2]


def test_anomalies_of_a_test_split_that_came_with_the_data_are_shared_with_validation(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    x, x_test = random.random((100, 3)), random.random((50, 3))
    y_test = (np.arange(50) < 20).astype(int)
    expected = data.load(_npz(tmp_path / "y.npz", x_train=x, y_train=np.zeros(100, int), x_test=x_test, y_test=y_test))
    assert int(np.asarray(expected.validation.y).sum()) == 9
    assert int(np.asarray(expected.test.y).sum()) == 11
    assert len(expected.test) == 30 + 11
    assert not np.asarray(expected.train.y).any()
    assert "9 of the 20 anomalies of the test split are validated with instead: there were no others" in expected.notes
    # normal samples to learn from need no labels
    found = data.load(_npz(tmp_path / "none.npz", x_train=x, x_test=x_test, y_test=y_test))
    assert np.array_equal(np.asarray(found.test.x), np.asarray(expected.test.x))


def test_test_split_that_came_with_the_data_stays_where_there_are_other_anomalies(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    y, y_test = (np.arange(100) < 30).astype(int), (np.arange(50) < 20).astype(int)
    config = _npz(
        tmp_path / "x.npz", x_train=random.random((100, 3)), y_train=y, x_test=random.random((50, 3)), y_test=y_test
    )
    found = data.load(config)
    assert len(found.test) == 50
    assert int(np.asarray(found.validation.y).sum()) == 30


def test_anomalies_stay_out_of_the_test_split_of_other_folds() -> None:
    tested = []
    for index in range(3):
        found = data.load(_digits(split={"fold": {"index": index, "of": 3}}))
        assert not np.asarray(found.train.y).any()
        tested.append(int(np.asarray(found.test.y).sum()))
        assert int(np.asarray(found.validation.y).sum()) == 361 - tested[-1]
    assert sum(tested) == 361


def test_groups_that_stay_together_lose_the_anomalies_that_were_to_be_trained_with() -> None:
    found = data.load(_digits(split={"by": "content"}))
    left = [note for note in found.notes if "are left out" in note]
    assert len(left) == 1
    held = sum(int(np.asarray(part.y).sum()) for part in (found.validation, found.test))
    assert left[0] == f"{361 - held} anomalies that were to be trained with are left out"


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ({"anomaly": None}, "data.task is anomaly, and nothing says which classes are anomalies"),
        ({"anomaly": ["ten"]}, "data.anomaly names classes that the data has not"),
        ({"anomaly": list("0123456789")}, "data.anomaly names all classes"),
    ],
)
def test_data_that_does_not_say_what_an_anomaly_is_is_refused(more: dict[str, Any], what: str) -> None:
    with pytest.raises(InputError) as caught:
        data.load(_digits(**more))
    assert caught.value.what == what


def test_key_for_anomalies_is_refused_for_other_tasks() -> None:
    with pytest.raises(ValueError, match="anomaly names classes for the task anomaly, but task is null"):
        DataConfig.model_validate({"anomaly": ["9"]})


@pytest.mark.parametrize("cache", [True, False])
def test_what_is_learned_is_the_sample_itself_and_of_validation_the_normal_ones(cache: bool) -> None:
    load_keras()
    found, config = data.load(_digits()), _digits(cache=cache)
    (x, y), *_ = batches.training(
        found.train, found.spec, config, batch_size=32, seed=0, first_epoch=0, last_epoch=1
    ).as_numpy_iterator()  # fmt: skip
    assert x.max() > 10
    assert np.array_equal(y, x / np.float32(16))
    read = list(batches.evaluation(found.validation, found.spec, config, batch_size=256).as_numpy_iterator())
    assert sum(len(x) for x, _ in read) == int((np.asarray(found.validation.y) == 0).sum())
    assert all(np.array_equal(y, x / np.float32(16)) for x, y in read)
