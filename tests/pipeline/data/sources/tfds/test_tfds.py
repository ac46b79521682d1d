"""tensorflow-datasets is an extra that the tests do not need: a small stand-in has the part of its interface that is
used, as its documentation describes it."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from pipeline import data
from pipeline.data import DataConfig
from pipeline.data.sources import tfds
from pipeline.errors import InputError, MissingError
from tests.pipeline.data.sources.preparing import prepare_in


class _Splits(dict[str, Any]):
    """Splits know slices of themselves, as `train[:2]`."""

    def __missing__(self, name: str) -> Any:
        whole = self.get(name.partition("[")[0])
        if whole is None:
            raise KeyError(f"Unknown split {name!r}")
        return SimpleNamespace(num_examples=2)


class _Builder:
    def __init__(self, name: str, data_dir: str, rows: dict[str, list[dict[str, Any]]], keys: Any) -> None:
        self._rows, self._folder = rows, Path(data_dir) / name / "1.0.0"
        splits = _Splits({split: SimpleNamespace(num_examples=len(some)) for split, some in rows.items()})
        features = {key: SimpleNamespace() for key in rows["train"][0]}
        if "label" in features:
            features["label"] = SimpleNamespace(names=["cat", "dog"])
        self.info = SimpleNamespace(splits=splits, features=features, supervised_keys=keys)

    def download_and_prepare(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "set-train.tfrecord-00000-of-00001").write_bytes(b"content")

    def as_dataset(self, *, split: str, shuffle_files: bool) -> list[dict[str, Any]]:
        assert not shuffle_files
        return self._rows[split] if split in self._rows else self._rows[split.partition("[")[0]][:2]


def _images(split: int, count: int) -> list[dict[str, Any]]:
    return [
        {"image": np.full((2, 3, 1), 10 * split + row, np.uint8), "label": np.int64(row % 2), "id": b"x"}
        for row in range(count)
    ]


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The sets that the stand-in knows: name -> (rows by split, supervised keys)."""
    sets: dict[str, Any] = {"pets": ({"train": _images(0, 6), "test": _images(1, 2)}, ("image", "label"))}

    def builder(name: str, data_dir: str) -> _Builder:
        if name == "offline":
            raise ConnectionError("no route to host")
        if name not in sets:
            raise ValueError(f"Dataset {name} not found")
        return _Builder(name, data_dir, *sets[name])

    def as_numpy(dataset: Any) -> Iterator[Any]:
        return iter(dataset)

    made = ModuleType("tensorflow_datasets")
    made.builder, made.as_numpy = builder, as_numpy  # type: ignore[attr-defined]
    made.__spec__ = importlib.util.spec_from_loader("tensorflow_datasets", None)
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", made)
    return sets


def _config(folder: Path, name: str = "pets", keys: dict[str, Any] | None = None, **section: Any) -> DataConfig:
    fields = {"source": "tfds", "tfds": {"name": name, "data_dir": str(folder / "sets"), **section}}
    return DataConfig.model_validate(fields | (keys or {}))


@pytest.mark.usefixtures("known")
def test_examples_of_the_splits_are_the_data_and_its_own_splits_are_kept(tmp_path: Path) -> None:
    source = tfds.load(_config(tmp_path), prepare_in(tmp_path))
    assert source.x["image"][:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4, 5, 10, 11]
    assert source.x["image"].dtype == np.uint8
    assert source.targets[""].classes == ("cat", "dog")
    assert source.targets[""].y.tolist() == [0, 1, 0, 1, 0, 1, 0, 1]
    assert source.given["test"].tolist() == [6, 7]
    sliced = tfds.load(_config(tmp_path, train="train[:2]"), prepare_in(tmp_path))
    assert len(sliced.x["image"]) == 4


@pytest.mark.usefixtures("known")
def test_the_content_is_that_of_its_files_which_are_prepared_once(tmp_path: Path) -> None:
    config = _config(tmp_path)
    first = data.content_hash(config)
    (file,) = tfds.files(config)
    assert file.parent == tmp_path / "sets" / "pets" / "1.0.0"
    assert data.content_hash(config) == first
    (tmp_path / "sets").rename(tmp_path / "moved")
    moved = _config(tmp_path, data_dir=str(tmp_path / "moved"))
    assert data.content_hash(moved) == first
    (tmp_path / "moved").rename(tmp_path / "sets")
    file.rename(file.with_name("renamed"))
    assert data.content_hash(config) != first
    file.with_name("renamed").write_bytes(b"another")
    file.with_name("renamed").rename(file)
    assert data.content_hash(config) != first


def test_texts_and_numbers_to_predict_are_taken_by_the_names_of_their_features(
    tmp_path: Path, known: dict[str, Any]
) -> None:
    rows = [{"said": "grüß".encode(), "stars": np.float32(row / 2)} for row in range(4)]
    known["reviews"] = ({"train": rows}, None)
    config = _config(tmp_path, "reviews", {"task": "regression"}, input="said", label="stars")
    source = tfds.load(config, prepare_in(tmp_path))
    assert list(source.x["text"]) == ["grüß"] * 4
    assert source.targets[""].y.tolist() == [[0], [0.5], [1], [1.5]]
    with pytest.raises(InputError, match="does not say which of its features are taken") as refused:
        tfds.load(_config(tmp_path, "reviews"), prepare_in(tmp_path))
    assert refused.value.found == "features said, stars; supervised_keys None"
    with pytest.raises(InputError, match="has no classes"):
        tfds.load(_config(tmp_path, "reviews", input="said", label="stars"), prepare_in(tmp_path))


def test_what_is_not_there_or_does_not_fit_is_refused(tmp_path: Path, known: dict[str, Any]) -> None:
    rows = _images(0, 3)
    rows[2]["image"] = np.zeros((4, 3, 1), np.uint8)
    known["mixed"] = ({"train": rows}, ("image", "label"))
    with pytest.raises(InputError, match="the image of mixed differ in shape") as refused:
        tfds.load(_config(tmp_path, "mixed"), prepare_in(tmp_path))
    assert refused.value.found == "[4, 3, 1] in example 3 of train"
    with pytest.raises(InputError, match="there is no data set nothing in tensorflow-datasets"):
        tfds.files(_config(tmp_path, "nothing"))
    with pytest.raises(InputError, match="has no such split"):
        tfds.load(_config(tmp_path, validation="dev"), prepare_in(tmp_path))
    with pytest.raises(MissingError, match="offline is not there and cannot be downloaded") as missing:
        tfds.files(_config(tmp_path, "offline"))
    assert missing.value.found == "ConnectionError: no route to host"


def test_the_package_is_asked_for_when_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "tensorflow_datasets", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingError, match="pip install tensorflow-datasets"):
        tfds.files(_config(tmp_path))


def test_the_section_is_needed_and_a_path_is_not(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="the source tfds needs a section tfds"):
        DataConfig(source="tfds")
    with pytest.raises(ValidationError, match="the source tfds takes no path"):
        _config(tmp_path, keys={"path": "a"})
