from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import accuracy_score, f1_score, r2_score
from sklearn.svm import LinearSVC

from pipeline import data
from pipeline.data import DataConfig
from pipeline.measuring import baseline
from pipeline.rows import Rows
from tests import texts


def rows(path: Path, count: int = 160, **keys: Any) -> DataConfig:
    """Two classes apart along the first of three columns; or two values of the first column."""
    x = np.random.default_rng(0).normal(size=(count, 3)).astype(np.float32)
    y: np.ndarray = (x[:, 0] > 0).astype(np.int64)
    if keys.get("task") == "regression":
        y = np.stack([x[:, 0], -x[:, 0]], axis=1)
    np.savez(path, x_train=x, y_train=y)
    return DataConfig(source="npz", path=str(path), **keys)


def test_texts_get_the_linear_svm_that_anybody_would_fit_to_the_training_split(tmp_path: Path) -> None:
    splits = data.load(texts.write(tmp_path / "texts.npz"), strings=True)
    found = baseline.fit(splits)
    words = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2))
    svm = LinearSVC(random_state=0).fit(words.fit_transform(splits.train.x), splits.train.y)
    assert np.array_equal(found.answers["logits"], svm.decision_function(words.transform(splits.test.x)))
    assert found.name == "TF-IDF and a linear SVM"
    told = baseline.compared(found, splits, {}, 100)
    answered = svm.predict(words.transform(splits.test.x))
    assert told.metrics["accuracy"].value == pytest.approx(accuracy_score(splits.test.y, answered))
    assert told.metrics["f1"].value == pytest.approx(f1_score(splits.test.y, answered, average="macro"))
    assert told.samples == len(splits.train)


def test_two_classes_have_a_logit_each_and_rows_of_numbers_are_boosted(tmp_path: Path) -> None:
    splits = data.load(rows(tmp_path / "rows.npz"))
    found = baseline.fit(splits)
    assert (found.name, found.answers["logits"].shape) == ("gradient boosting of trees", (len(splits.test), 2))
    assert np.mean(found.answers["logits"].argmax(axis=1) == splits.test.y) > 0.9


def test_class_that_the_training_split_lacks_is_never_the_answer(tmp_path: Path) -> None:
    splits = data.load(rows(tmp_path / "rows.npz", classes=("no", "yes", "never")))
    logits = baseline.fit(splits).answers["logits"]
    assert logits.shape == (len(splits.test), 3)
    assert set(logits.argmax(axis=1)) == {0, 1}
    assert np.isfinite(logits).all()


def test_values_are_predicted_in_their_units(tmp_path: Path) -> None:
    splits = data.load(rows(tmp_path / "rows.npz", task="regression"))
    values = baseline.fit(splits).answers["value"]
    assert r2_score(splits.test.y, values) > 0.8
    assert baseline.compared(baseline.fit(splits), splits, {}, 100).metrics["r2"].value > 0.8


def test_images_get_a_logistic_regression() -> None:
    splits = data.load(DataConfig())
    found = baseline.fit(splits)
    assert found.name == "logistic regression"
    assert np.mean(found.answers["logits"].argmax(axis=1) == splits.test.y) > 0.9


def test_gain_is_positive_for_what_is_better_than_the_baseline_and_paired(tmp_path: Path) -> None:
    splits = data.load(rows(tmp_path / "rows.npz"))
    truth = np.asarray(splits.test.y)
    perfect = {"logits": np.eye(2)[truth]}
    bad = baseline.Fitted("bad", "none", {"logits": np.eye(2)[np.where(np.arange(len(truth)) % 4, truth, 1 - truth)]})
    told = baseline.compared(bad, splits, {"train.keras": perfect, "same": bad.answers}, 200)
    (better,), (same,) = (told.gain(name).metrics.values() for name in ("train.keras", "same"))  # type: ignore[union-attr]
    assert better.value == pytest.approx(0.25, abs=0.05)
    assert better.low > 0
    assert same.value == 0
    assert same.low < 0 < same.high
    assert told.gain("other") is None


def test_there_is_none_where_the_answer_is_no_class_and_no_value(tmp_path: Path) -> None:
    assert baseline.why_none(data.load(DataConfig())) == ""
    assert (
        baseline.why_none(data.load(DataConfig(task="reconstruction"))) == "there is none for the task reconstruction"
    )
    both = {"x_train_a": np.zeros((40, 2)) + np.arange(40)[:, None], "x_train_b": np.ones((40, 2)) * np.arange(2)}
    np.savez(tmp_path / "two.npz", y_train=np.arange(40) % 2, **both)
    assert "several inputs" in baseline.why_none(data.load(DataConfig(source="npz", path=str(tmp_path / "two.npz"))))


def test_data_that_scikit_learn_refuses_are_told_and_nothing_else_is_lost(tmp_path: Path) -> None:
    """A word has two letters to it."""
    splits = data.load(texts.write(tmp_path / "texts.npz"), strings=True)
    letters = data.Split(np.array(["a b", "b a"] * 20, object), np.arange(40) % 2)
    with pytest.raises(baseline.UnfittedError, match="scikit-learn cannot fit it to these data: empty vocabulary"):
        baseline.fit(dataclasses.replace(splits, train=letters))
    splits = data.load(rows(tmp_path / "rows.npz"))
    alike = dataclasses.replace(splits, train=data.Split(splits.train.x, np.zeros(len(splits.train), np.int64)))
    with pytest.raises(baseline.UnfittedError, match="the training split has a single class"):
        baseline.fit(alike)


def test_there_is_none_of_samples_that_stay_on_the_disk(tmp_path: Path) -> None:
    splits = data.load(rows(tmp_path / "rows.npz"))
    on_disk = data.Split(Rows(np.asarray(splits.train.x), np.arange(len(splits.train))), splits.train.y)
    large = dataclasses.replace(splits, train=on_disk)
    assert baseline.why_none(large) == "scikit-learn would need all samples in memory at once"
