from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import pickle
import socket
import subprocess
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pipeline import data, legacy_keras
from pipeline.data import DataConfig
from pipeline.data.sources import keras_datasets, pickles
from pipeline.errors import InputError, MissingError
from tests.pipeline.data.sources.preparing import no_need


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder `datasets` of Keras' cache; the one at home is none."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    folder = tmp_path / "keras" / "datasets"
    folder.mkdir(parents=True)
    return folder


def _images(count: int, shape: tuple[int, ...], classes: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Return images of which each says its label, and the labels."""
    labels = np.arange(count) % classes
    return np.broadcast_to(labels.reshape(-1, *[1] * len(shape)), (count, *shape)).astype(np.uint8), labels


def _mnist(folder: Path) -> None:
    (x, y), (x_test, y_test) = _images(120, (28, 28)), _images(40, (28, 28))
    np.savez_compressed(folder / "mnist.npz", x_train=x, y_train=y, x_test=x_test + 100, y_test=y_test)


def _fashion(folder: Path) -> None:
    folder = folder / "fashion-mnist"
    folder.mkdir()
    for part, count in (("train", 120), ("t10k", 40)):
        x, y = _images(count, (28, 28))
        x = x + 100 * (part == "t10k")
        for kind, header, array in (("images-idx3", 16, x), ("labels-idx1", 8, y)):
            with gzip.open(folder / f"{part}-{kind}-ubyte.gz", "wb") as file:
                file.write(bytes(header) + array.astype(np.uint8).tobytes())


def _batch(count: int, offset: int, **labels: int) -> bytes:
    x, _ = _images(count, (32, 32, 3), max(labels.values()))
    flat = (x + offset).astype(np.uint8).transpose(0, 3, 1, 2).reshape(count, -1)
    named = {key.encode(): [int(one) for one in np.arange(count) % classes] for key, classes in labels.items()}
    return pickle.dumps({b"data": flat, **named}, protocol=2)


def _cifar10() -> dict[str, bytes]:
    return {f"data_batch_{n}": _batch(20, 0, labels=10) for n in range(1, 6)} | {
        "test_batch": _batch(40, 100, labels=10)
    }


def _cifar100() -> dict[str, bytes]:
    meta = pickle.dumps({b"fine_label_names": [f"fine {n}".encode() for n in range(100)]}, protocol=2)
    labels = {"fine_labels": 100, "coarse_labels": 20}
    return {"train": _batch(600, 0, **labels), "test": _batch(100, 100, **labels), "meta": meta}


def _unpacked(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def _packed(path: Path, folder: str, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in {"readme.html": b"", **files}.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def _imdb(folder: Path) -> None:
    words = {"the": 1, "film": 2, "bad": 3, "good": 4}
    reviews = [[1, 2, 3], [4, 2]] * 60
    x = np.empty(len(reviews), object)
    for place, review in enumerate(reviews):
        x[place] = review
    y = np.arange(120) % 2
    np.savez(folder / "imdb.npz", x_train=x, y_train=y, x_test=x[:40], y_test=y[:40])
    (folder / "imdb_word_index.json").write_text(json.dumps(words), encoding="utf-8")


def _write(name: str, folder: Path) -> None:
    match name:
        case "mnist":
            _mnist(folder)
        case "fashion_mnist":
            _fashion(folder)
        case "cifar10":
            _unpacked(folder / "cifar-10-batches-py", _cifar10())
        case "cifar100":
            _unpacked(folder / "cifar-100-python", _cifar100())


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10", "cifar100"])
def test_images_come_from_the_cache_with_their_test_split(name: str, cache: Path) -> None:
    _write(name, cache)
    config = DataConfig(source=name)
    source = keras_datasets.load(config, no_need)
    x, target = source.x["image"], source.targets[""]
    assert data.input_shapes(config) == {"image": x.shape[1:]}
    assert (x.dtype, target.y.dtype) == (np.uint8, np.int64)
    test = source.given["test"]
    assert (x[test] >= 100).all()
    assert np.array_equal(x[test, 0, 0, 0] - 100, target.y[test])
    rest = np.setdiff1d(np.arange(len(x)), test)
    assert np.array_equal(x[rest, -1, -1, -1], target.y[rest])
    assert target.classes is not None
    assert len(target.classes) == (100 if name == "cifar100" else 10)
    splits = data.load(config)
    assert splits.spec.input.value_range == (0, 255)
    assert len(splits.test) == len(test)


def test_names_of_classes_are_those_of_the_set(cache: Path) -> None:
    for name, first in (
        ("mnist", "0"),
        ("fashion_mnist", "T-shirt/top"),
        ("cifar10", "airplane"),
        ("cifar100", "fine 0"),
    ):
        _write(name, cache)
        assert data.load(DataConfig(source=name)).spec.head.classes[0] == first


@pytest.mark.parametrize(
    "name", ["cifar-10-python.tar.gz", "cifar-10-batches-py.tar.gz", "cifar-10-batches-py-target_archive"]
)
def test_archive_that_was_put_there_by_hand_is_as_good(name: str, cache: Path) -> None:
    _packed(cache / name, "cifar-10-batches-py", _cifar10())
    source = keras_datasets.load(DataConfig(source="cifar10"), no_need)
    assert np.array_equal(source.x["image"][:100, 3, 4, 1], source.targets[""].y[:100])
    assert len(source.given["test"]) == 40


def test_reviews_are_texts_in_words(cache: Path) -> None:
    _imdb(cache)
    config = DataConfig(source="imdb", text={"vocabulary": 10, "length": 4})
    assert data.input_shapes(config) == {"text": ()}
    source = keras_datasets.load(config, no_need)
    assert list(source.x["text"][:2]) == ["the film bad", "good film"]
    splits = data.load(config, strings=True)
    assert splits.spec.input.vectorizer is not None
    assert splits.spec.head.classes == ("negative", "positive")
    assert set(splits.test.x[splits.test.y == 1]) == {"good film"}


def test_content_is_hashed_without_tensorflow(cache: Path) -> None:
    _mnist(cache)
    code = (
        "import sys; from pipeline import data; print(data.content_hash(data.DataConfig(source='mnist'))); "
        "sys.exit(bool({'numpy', 'tensorflow', 'tf_keras'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == hashlib.sha256((cache / "mnist.npz").read_bytes()).hexdigest()


def _keras(load_data: Any) -> Any:
    """Return what stands for Keras, whose functions do as they are told."""
    module = SimpleNamespace(load_data=load_data)
    return lambda: SimpleNamespace(datasets=SimpleNamespace(mnist=module, cifar10=module))


def test_what_is_not_there_is_downloaded_by_keras_into_its_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load_data(cache_dir: str) -> None:
        asked.append((cache_dir, socket.getdefaulttimeout()))
        _mnist(cache)

    monkeypatch.setattr(legacy_keras, "load", _keras(load_data))
    assert len(data.load(DataConfig(source="mnist")).test) == 40
    assert asked == [(str(cache.parent), 60)]
    assert socket.getdefaulttimeout() is None


def test_no_network_is_one_message_that_says_which_file_goes_where(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load_data(cache_dir: str) -> None:
        raise Exception(f"URL fetch failure on nowhere: None -- no name, for {cache_dir}")

    monkeypatch.setattr(legacy_keras, "load", _keras(load_data))
    with pytest.raises(MissingError, match="mnist is not in Keras' cache and could not be downloaded") as missing:
        data.content_hash(DataConfig(source="mnist"))
    assert missing.value.expected == f"mnist.npz in {cache}"
    assert missing.value.found.startswith("URL fetch failure")
    assert "copy them there from a machine with a network" in missing.value.todo
    with pytest.raises(MissingError) as missing:
        data.load(DataConfig(source="cifar10"))
    assert missing.value.expected.endswith(f"test_batch or cifar-10-python.tar.gz in {cache}")


def test_cache_at_home_is_found_without_keras_home(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KERAS_HOME")
    folder = Path(os.environ["HOME"]) / ".keras" / "datasets"
    folder.mkdir(parents=True)
    _mnist(folder)
    assert keras_datasets.files(DataConfig(source="mnist")) == (folder / "mnist.npz",)
    assert not list(cache.iterdir())


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10", "cifar100"])
def test_damaged_file_is_named_with_what_to_do(name: str, cache: Path) -> None:
    _write(name, cache)
    for path in keras_datasets.files(DataConfig(source=name)):
        path.write_bytes(path.read_bytes()[:-40] if path.stat().st_size > 100 else b"")
    with pytest.raises(InputError, match="in Keras' cache cannot be read") as refused:
        keras_datasets.load(DataConfig(source=name), no_need)
    assert refused.value.todo.startswith("delete it and run again")


class _Harm:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch harmed",)


@pytest.mark.parametrize("kind", ["code", "objects"])
def test_pickle_that_names_anything_but_arrays_is_refused(
    kind: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    harm = _Harm() if kind == "code" else np.array([_Harm()], object)
    files = _cifar10() | {"data_batch_3": pickle.dumps({b"data": harm, b"labels": [1]})}
    _unpacked(cache / "cifar-10-batches-py", files)
    with pytest.raises(InputError, match="cannot be read") as refused:
        keras_datasets.load(DataConfig(source="cifar10"), no_need)
    assert "it names posix.system, which is no array" in refused.value.found
    assert not (tmp_path / "harmed").exists()


def test_pickled_reviews_that_would_run_code_are_refused(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _imdb(cache)
    x = np.array([_Harm(), _Harm()], object)
    np.savez(cache / "imdb.npz", x_train=x, y_train=[0, 1], x_test=x, y_test=[0, 1])
    with pytest.raises(InputError, match="cannot be read"):
        keras_datasets.load(DataConfig(source="imdb"), no_need)
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize(
    "array",
    [np.arange(6, dtype=np.uint8).reshape(2, 3), np.asfortranarray(np.arange(6.0).reshape(2, 3)),
     np.arange(3, dtype=">i4"), np.array([[1, 2], [3]], dtype=object)],
    ids=["bytes", "columns", "big-endian", "lists"],
)  # fmt: skip
@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_arrays_survive_a_pickle_of_any_protocol(array: np.ndarray, protocol: int) -> None:
    assert np.array_equal(pickles.read(io.BytesIO(pickle.dumps(array, protocol=protocol))), array)
