"""The data sets of `keras.datasets`, from Keras' own cache; Keras downloads what is not there and checks its hash.

    mnist          70,000 grey images of 28x28 pixels, ten digits
    fashion_mnist  the same with ten kinds of clothes
    cifar10        60,000 colour images of 32x32 pixels, ten classes
    cifar100       the same with a hundred classes, the fine ones
    imdb           50,000 reviews of films, negative or positive, as texts: Keras' word ids are turned back into words,
                   so that a vocabulary of the training split's is learned and strings are served

All come with a test split. What is in the cache is read by us, and no pickle in it can run code (`pickles.py`), so that
a file that was put there by hand is as good as one that Keras got.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from pipeline import legacy_keras
from pipeline.data.sources import array_header, pickles
from pipeline.data.sources.source import Source, Target
from pipeline.errors import InputError, MissingError

if TYPE_CHECKING:
    import numpy as np

    from pipeline.data.config import DataConfig
    from pipeline.data.prepared import Prepare

# seconds without an answer after which a download is given up
_PATIENCE_S = 60

_DIGITS = tuple("0123456789")
_CLOTHES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_FASHION = tuple(
    f"fashion-mnist/{part}-{kind}-ubyte.gz" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")
)
_BATCHES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")

Arrays = tuple["np.ndarray", "np.ndarray", int, tuple[str, ...]]


@dataclass(frozen=True)
class _Set:
    """What is known of a set without reading it.

    Attributes:
        layouts: the files below Keras' folder `datasets` that hold it, in each way in which it may lie there.
        shape: of a sample, () for a text.
        read: paths -> x, y, how many of them are training samples, class names.
    """

    layouts: tuple[tuple[str, ...], ...]
    shape: tuple[int, ...]
    read: Callable[[tuple[Path, ...]], Arrays]

    @property
    def input_name(self) -> str:
        return "image" if self.shape else "text"


def load(config: DataConfig, prepare: Prepare) -> Source:  # noqa: ARG001 - every source has the same face
    """Return all samples, those of the test split behind the others.

    Returns:
        x uint8 [n, height, width, channels], or texts [n] as objects; y int64 [n].

    Raises:
        InputError: a file in the cache is damaged.
        MissingError: it is not there and cannot be got.
    """
    import numpy as np

    known = SETS[config.source]
    paths = files(config)
    with _reading(paths[0]):
        x, y, count, classes = known.read(paths)
        if len(x) != len(y) or not count < len(y) or not 0 <= y.min() <= y.max() < len(classes):
            raise ValueError(f"{len(x)} samples, {count} of them to learn from, labels {y.min()} to {y.max()}")
        if x.shape[1:] != known.shape:
            raise ValueError(f"samples of the shape {list(x.shape[1:])}")
    return Source({known.input_name: x}, {"": Target(y, classes)}, given={"test": np.arange(count, len(y))})


def input_shapes(config: DataConfig) -> dict[str, tuple[int, ...]]:
    """Return input name -> shape of one sample."""
    known = SETS[config.source]
    return {known.input_name: known.shape}


def files(config: DataConfig) -> tuple[Path, ...]:
    """Return the files that hold the raw content; looks without importing TensorFlow, which a download needs.

    Raises:
        MissingError: they are not in Keras' cache, and Keras cannot get them.
    """
    if paths := _cached(config.source):
        return paths
    failure = _download(config.source)
    if paths := _cached(config.source):
        return paths
    raise MissingError(
        f"the data set {config.source} is not in Keras' cache and could not be downloaded",
        expected=" or ".join(" and ".join(layout) for layout in SETS[config.source].layouts[:2])
        + f" in {_folders()[0]}",
        found=failure or "Keras wrote it to another folder",
        todo=f"copy them there from a machine with a network, where keras.datasets.{config.source}.load_data() was "
        "called; KERAS_HOME names another folder than ~/.keras",
    )


def _folders() -> list[Path]:
    """Return where data sets lie: below KERAS_HOME, and below ~/.keras, where some of Keras' functions always write."""
    named = os.environ.get("KERAS_HOME")
    homes = [Path(named).expanduser()] if named else []
    return [home / "datasets" for home in (*homes, Path.home() / ".keras")]


def _cached(name: str) -> tuple[Path, ...]:
    for layout in SETS[name].layouts:
        found = []
        for file in layout:
            found += [path for folder in _folders() if (path := folder / file).is_file()][:1]
        if len(found) == len(layout):
            return tuple(found)
    return ()


def _download(name: str) -> str:
    """Let Keras download a set into its cache; it compares sha256 or md5 of what it gets. Returns why it could not."""
    import socket

    home, before = _folders()[0].parent, socket.getdefaulttimeout()
    try:
        home.mkdir(parents=True, exist_ok=True)
        if not os.access(home, os.W_OK):  # Keras would take a folder in /tmp, into which others may write too
            return f"{home} cannot be written to"
        datasets = getattr(legacy_keras.load().datasets, name)
        socket.setdefaulttimeout(_PATIENCE_S)
        datasets.load_data(cache_dir=str(home))
        if hasattr(datasets, "get_word_index"):
            datasets.get_word_index()
    except Exception as error:  # noqa: BLE001 - urllib's, Keras' and the disk's; all say why there is no file
        return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    finally:
        socket.setdefaulttimeout(before)
    return ""


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    import pickle
    import tarfile
    import tokenize
    import zipfile
    import zlib

    damaged = (
        zipfile.BadZipFile, zlib.error, tarfile.TarError, pickle.UnpicklingError, tokenize.TokenError, EOFError,
        OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, ImportError, MemoryError, OverflowError,
    )  # fmt: skip
    try:
        yield
    except damaged as error:
        raise InputError(
            f"{path} in Keras' cache cannot be read", expected="a whole file, as Keras downloads it",
            found=(str(error).splitlines() or [type(error).__name__])[0][:200],
            todo="delete it and run again, so that Keras gets it anew; or put a whole one there",
        ) from None  # fmt: skip


def _npz(path: Path) -> dict[str, np.ndarray]:
    import zipfile

    from numpy.lib import format as npy

    found = {}
    with zipfile.ZipFile(path) as archive:
        for name in ("x_train", "y_train", "x_test", "y_test"):
            with archive.open(f"{name}.npy") as member:
                _, dtype = array_header.read(member)
                if dtype.hasobject:
                    found[name] = pickles.read(member)
                    continue
            with archive.open(f"{name}.npy") as member:
                found[name] = npy.read_array(member, allow_pickle=False)
    return found


def _mnist(paths: tuple[Path, ...]) -> Arrays:
    import numpy as np

    found = _npz(paths[0])
    x = np.concatenate([found["x_train"], found["x_test"]])[..., None]
    y = np.concatenate([found["y_train"], found["y_test"]]).astype(np.int64)
    return x, y, len(found["y_train"]), _DIGITS


def _fashion(paths: tuple[Path, ...]) -> Arrays:
    import gzip

    import numpy as np

    parts = []
    for path, header in zip(paths, (16, 8, 16, 8), strict=True):  # the format idx: sizes, then bytes
        with gzip.open(path) as file:
            parts.append(np.frombuffer(file.read(), np.uint8, offset=header))
    x = np.concatenate([parts[0], parts[2]]).reshape(-1, 28, 28, 1)
    return x, np.concatenate([parts[1], parts[3]]).astype(np.int64), len(parts[1]), _CLOTHES


def _pickled(paths: tuple[Path, ...], names: tuple[str, ...]) -> list[dict[bytes, Any]]:
    """Return what pickles hold, which lie in a folder or in the one archive."""
    if len(paths) > 1:
        opened: list[IO[bytes]] = []
        try:
            opened = [path.open("rb") for path in paths]
            return [pickles.read(file) for file in opened]
        finally:
            for file in opened:
                file.close()
    import tarfile  # each of these takes milliseconds, for which a recipe of other data need not wait

    found: dict[str, dict[bytes, Any]] = {}
    with tarfile.open(paths[0], "r|gz") as archive:
        for member in archive:
            name = member.name.rpartition("/")[2]
            if member.isfile() and name in names and (inside := archive.extractfile(member)):
                found[name] = pickles.read(inside)
    return [found[name] for name in names]


def _images(batches: list[dict[bytes, Any]], key: bytes) -> tuple[np.ndarray, np.ndarray]:
    import numpy as np

    flat = np.concatenate([batch[b"data"] for batch in batches]).astype(np.uint8, copy=False)
    x = np.ascontiguousarray(flat.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    return x, np.concatenate([np.asarray(batch[key], np.int64) for batch in batches])


def _cifar10(paths: tuple[Path, ...]) -> Arrays:
    batches = _pickled(paths, _BATCHES)
    x, y = _images(batches, b"labels")
    return x, y, len(y) - len(batches[-1][b"labels"]), _CIFAR10


def _cifar100(paths: tuple[Path, ...]) -> Arrays:
    *batches, meta = _pickled(paths, ("train", "test", "meta"))
    x, y = _images(batches, b"fine_labels")
    return x, y, len(batches[0][b"fine_labels"]), tuple(name.decode() for name in meta[b"fine_label_names"])


def _imdb(paths: tuple[Path, ...]) -> Arrays:
    import numpy as np

    found = _npz(paths[0])
    words = {place: word for word, place in json.loads(paths[1].read_text(encoding="utf-8")).items()}
    reviews = [*found["x_train"], *found["x_test"]]
    x = np.array([" ".join(words[place] for place in review) for review in reviews], dtype=object)
    y = np.concatenate([found["y_train"], found["y_test"]]).astype(np.int64)
    return x, y, len(found["y_train"]), ("negative", "positive")


def _layouts(folder: str, official: str, names: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """Return how a set lies that Keras unpacks: by tf_keras, by Keras 3, and the archive itself, under three names."""
    return (
        tuple(f"{folder}/{name}" for name in names), (official,), (f"{folder}.tar.gz",),
        tuple(f"{folder}-target/{folder}/{name}" for name in names), (f"{folder}-target_archive",),
    )  # fmt: skip


SETS = {
    "mnist": _Set((("mnist.npz",),), (28, 28, 1), _mnist),
    "fashion_mnist": _Set((_FASHION,), (28, 28, 1), _fashion),
    "cifar10": _Set(_layouts("cifar-10-batches-py", "cifar-10-python.tar.gz", _BATCHES), (32, 32, 3), _cifar10),
    "cifar100": _Set(
        _layouts("cifar-100-python", "cifar-100-python.tar.gz", ("train", "test", "meta")), (32, 32, 3), _cifar100
    ),
    "imdb": _Set((("imdb.npz", "imdb_word_index.json"),), (), _imdb),
}
