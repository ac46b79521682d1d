"""Texts in an .npz: what is read, what is learned of them, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import data
from pipeline.data import DataConfig, TextConfig, batches
from pipeline.errors import InputError
from tests import texts


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., DataConfig]:
    def written(x: Any, keys: dict[str, Any] | None = None, **arrays: Any) -> DataConfig:
        path = tmp_path / "texts.npz"
        np.savez(path, x_train=x, **{"y_train": np.arange(len(x)) % 2} | arrays)
        return DataConfig(source="npz", path=str(path), **keys or {})

    return written


MANY = [f"word{place % 7} and Größe" for place in range(60)]


@pytest.mark.parametrize("stored", [np.array(MANY), np.array([text.encode() for text in MANY])], ids=["U", "S"])
def test_strings_become_token_ids_or_stay_what_they_are(write: Callable[..., DataConfig], stored: np.ndarray) -> None:
    config = write(stored, {"text": TextConfig(vocabulary=6, length=4)})
    assert data.input_shapes(config) == {"text": ()}
    splits, raw = data.load(config), data.load(config, strings=True)
    one = splits.spec.input
    assert (one.name, one.shape, one.raw_shape, one.value_range) == ("text", (4,), (), (0.0, 5.0))
    assert splits.spec == raw.spec
    assert one.vectorizer is not None
    assert {"and", "größe"} <= set(one.vectorizer.words)
    for part in ("train", "validation", "calibration", "test"):
        ids, strings = np.asarray(getattr(splits, part).x), np.asarray(getattr(raw, part).x)
        assert ids.dtype == np.int32
        assert set(strings) <= set(MANY)
        assert np.array_equal(one.vectorizer.ids(strings), ids)
    assert splits.notes == ()


def test_vocabulary_is_of_the_training_split_alone(write: Callable[..., DataConfig]) -> None:
    found = data.load(write(np.array(MANY), x_test=np.array(["unheard of"] * 4), y_test=np.arange(4) % 2))
    vectorizer = found.spec.input.vectorizer
    assert vectorizer is not None
    assert not {"unheard", "of"} & set(vectorizer.words)
    assert np.asarray(found.test.x)[0, :3].tolist() == [1, 1, 0]


def test_texts_are_told_apart_from_numbers_beside_them(tmp_path: Path) -> None:
    path = tmp_path / "both.npz"
    ages = np.arange(60, dtype=np.float32)[:, None]
    np.savez(path, x_train_text=np.array(MANY), x_train_age=ages, y_train=np.arange(60) % 2)
    config = DataConfig(source="npz", path=str(path))
    assert data.input_shapes(config) == {"age": (1,), "text": ()}
    spec = data.load(config).spec
    assert {one.name: one.vectorizer is not None for one in spec.inputs} == {"age": False, "text": True}


def test_training_batches_are_token_ids(tmp_path: Path) -> None:
    config = texts.write(tmp_path / "texts.npz")
    splits = data.load(config)
    for cache in (True, False):
        kept = config.model_copy(update={"cache": cache})
        found = batches.training(splits.train, splits.spec, kept, batch_size=32, seed=0, first_epoch=0, last_epoch=1)
        x, y = next(iter(found))
        assert (x.dtype.name, tuple(x.shape), y.dtype.name) == ("int32", (32, texts.WORDS), "int64")


@pytest.mark.parametrize(
    ("x", "keys", "what", "found"),
    [
        (np.array(MANY), {"value_range": (0, 1)}, "asks for what is of numbers", "an array of strings"),
        (np.array(MANY), {"task": "reconstruction"}, "asks for what is of numbers", "an array of strings"),
        (np.array(MANY), {"augment": {}}, "asks for what is of numbers", "an array of strings"),
        (np.array(["...", " "] * 30), {}, "have no words", "36 texts of punctuation and whitespace alone"),
        (np.array([b"caf\xe9"] * 60), {}, "cannot be read", "'utf-8' codec can't decode byte 0xe9 in position 3"),
        (np.array(["\ud800"] * 60), {}, "cannot be read", "'utf-8' codec can't encode character"),
        (np.array([["a", "b"]] * 60), {}, "do not fit", "x_train holds <U1"),
        (np.array(MANY, dtype=object), {}, "do not fit", "x_train holds Python objects, which are never loaded"),
    ],
)
def test_texts_that_cannot_be_used_are_refused(
    write: Callable[..., DataConfig], x: np.ndarray, keys: dict[str, Any], what: str, found: str
) -> None:
    with pytest.raises(InputError) as caught:
        data.load(write(x, keys))
    assert what in caught.value.what
    assert found in caught.value.found


def test_recipe_says_what_a_word_is(write: Callable[..., DataConfig]) -> None:
    chosen = TextConfig(vocabulary=9, length=4, standardize="none", split="punctuation", digits="shape")
    found = data.load(write(np.array([f"Pay {place}!" for place in range(60)]), {"text": chosen}))
    vectorizer = found.spec.input.vectorizer
    assert vectorizer is not None
    assert set(vectorizer.words) == {"Pay", "0", "00", "!"}
    assert vectorizer.rules == chosen.rules


@pytest.mark.parametrize("standardize", ["lower_and_strip_punctuation", "strip_punctuation"])
def test_splitting_at_marks_that_are_taken_away_is_refused(standardize: Any) -> None:
    with pytest.raises(ValueError, match=f"split is punctuation, which standardize {standardize} takes away"):
        TextConfig(split="punctuation", standardize=standardize)
