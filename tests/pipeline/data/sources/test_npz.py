from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from pipeline import data, recipe
from pipeline.data import DataConfig
from pipeline.data.sources import npz
from pipeline.errors import DiskError, InputError
from tests.end_to_end.command import modelmill, options
from tests.pipeline.data.sources.preparing import no_need

Arrays = dict[str, Any]


def _arrays(shape: tuple[int, ...] = (6, 5), train: int = 60, test: int = 20) -> Arrays:
    """Return arrays in the layout, three classes; every image tells its label."""
    made: Arrays = {}
    for name, count in (("train", train), ("test", test)):
        labels = np.arange(count) % 3
        images = np.broadcast_to(labels.reshape(-1, *[1] * len(shape)), (count, *shape))
        made |= {f"x_{name}": images.astype(np.uint8), f"y_{name}": labels}
    return made


def _without(arrays: Arrays, *names: str) -> Arrays:
    return {name: array for name, array in arrays.items() if name not in names}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., DataConfig]:
    """Write arrays, or bytes, and return the config that names the file."""

    def written(content: Arrays | bytes, **keys: Any) -> DataConfig:
        path = tmp_path / "mine.npz"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            np.savez_compressed(path, **content)
        return DataConfig(source="npz", path=str(path), **keys)

    return written


@pytest.mark.parametrize(
    ("shape", "sample", "name"),
    [((6, 5), (6, 5, 1), "image"), ((6, 5, 3), (6, 5, 3), "image"), ((7,), (7,), "features")],
)
def test_samples_are_images_or_features_by_their_shape(
    shape: tuple[int, ...], sample: tuple[int, ...], name: str, write: Callable[..., DataConfig]
) -> None:
    config = write(_arrays(shape))
    splits = data.load(config)
    assert splits.spec.input.shape == sample
    assert data.input_shapes(config) == {name: sample}
    assert splits.spec.input.name == name
    assert splits.spec.head.classes == ("0", "1", "2")
    assert splits.train.x.shape == (len(splits.train.y), *sample)


def test_test_arrays_are_the_test_split_and_the_rest_is_shared(write: Callable[..., DataConfig]) -> None:
    arrays = _arrays()
    arrays["x_test"] += 100
    splits = data.load(write(arrays))
    assert np.array_equal(splits.test.x[..., 0], arrays["x_test"])
    assert np.array_equal(splits.test.y, arrays["y_test"])
    sizes = [len(splits.train.y), len(splits.validation.y), len(splits.calibration.y)]
    assert (sum(sizes), sizes) == (60, pytest.approx([45, 11.25, 3.75], abs=1))
    assert max(splits.train.x.max(), splits.validation.x.max(), splits.calibration.x.max()) == 2


def test_all_four_splits_are_shares_when_there_are_no_test_arrays(write: Callable[..., DataConfig]) -> None:
    splits = data.load(write(_without(_arrays(), "x_test", "y_test")))
    parts = [splits.train, splits.validation, splits.calibration, splits.test]
    assert [len(part.y) for part in parts] == [36, 9, 3, 12]
    assert all(np.array_equal(part.x[:, 0, 0, 0], part.y) for part in parts)


def test_stored_type_decides_the_range(write: Callable[..., DataConfig]) -> None:
    assert npz.load(write(_arrays()), no_need).x["image"].dtype == np.uint8
    assert data.load(write(_arrays())).spec.input.value_range == (0, 255)
    arrays = _arrays()
    arrays |= {name: arrays[name].astype(np.float32) for name in ("x_train", "x_test")}
    assert data.load(write(arrays)).spec.input.value_range == (0, 2)


def test_labels_may_be_a_column_of_any_integer_type(write: Callable[..., DataConfig]) -> None:
    arrays = _arrays()
    arrays |= {"y_train": arrays["y_train"][:, None].astype(np.uint64), "y_test": arrays["y_test"].astype(np.int8)}
    target = npz.load(write(arrays), no_need).targets[""]
    assert (target.y.shape, target.y.dtype) == ((80,), np.int64)


def test_input_and_classes_are_named_by_the_recipe(write: Callable[..., DataConfig]) -> None:
    spec = data.load(write(_arrays(), input_name="pixels", classes=("a", "b", "c", "d"))).spec
    assert (spec.input.name, spec.head.classes) == ("pixels", ("a", "b", "c", "d"))


def test_other_arrays_are_never_read(write: Callable[..., DataConfig]) -> None:
    config = write(_arrays() | {"notes": np.array([{"a": 1}], dtype=object)})
    assert len(data.load(config).test.y) == 20


LABELS = np.arange(60) % 3
FAULTS: dict[str, tuple[Arrays, str, str]] = {
    "no arrays": ({}, "lacks x_train and y_train", "no arrays"),
    "other names": ({"images": LABELS, "labels": LABELS}, "lacks x_train and y_train", "arrays images, labels"),
    "half a test": (
        _without(_arrays(), "y_test"), "lacks y_test", "arrays x_train, y_train, x_test",
    ),
    "lengths": (
        _arrays() | {"y_train": LABELS[:50]}, "do not fit", "x_train and y_train differ in length: [60, 6, 5] and [50]",
    ),
    "lengths of the test": (
        _arrays() | {"y_test": LABELS}, "do not fit", "x_test and y_test differ in length: [20, 6, 5] and [60]",
    ),
    "one number a pixel": (
        _arrays() | {"x_train": LABELS, "x_test": LABELS[:20]}, "do not fit",
        "x_train has the shape [60]; x_test has the shape [20]",
    ),
    "volumes": (
        _without(_arrays((2, 2, 2, 2)), "x_test", "y_test"), "do not fit", "x_train has the shape [60, 2, 2, 2, 2]",
    ),
    "a scalar": (
        {"x_train": np.uint8(1), "y_train": LABELS}, "do not fit",
        "x_train has the shape []; x_train and y_train differ in length: [] and [60]",
    ),
    "one-hot labels": (
        _arrays() | {"y_train": np.eye(3, dtype=int)[LABELS]}, "do not fit", "y_train has the shape [60, 3]",
    ),
    "labels are no integers": (
        _arrays() | {"y_train": LABELS / 1}, "do not fit", "y_train holds float64",
    ),
    "labels are words": (
        _arrays() | {"y_test": np.array(["cat"] * 20)}, "do not fit", "y_test holds <U3",
    ),
    "samples are words": (
        _without(_arrays() | {"x_train": np.array([["cat"]] * 60)}, "x_test", "y_test"), "do not fit",
        "x_train holds <U3",
    ),
    "objects": (
        _arrays() | {"y_train": LABELS.astype(object)}, "do not fit",
        "y_train holds Python objects, which are never loaded",
    ),
    "nothing in them": (
        _arrays(train=0), "do not fit", "y_train is empty: [0]; x_train is empty: [0, 6, 5]",
    ),
    "images of no width": (
        _without(_arrays((6, 0)), "x_test", "y_test"), "do not fit", "x_train is empty: [60, 6, 0]",
    ),
    "other images in the test": (
        _arrays() | {"x_test": np.zeros((20, 5, 6), np.uint8)}, "do not fit",
        "x_train and x_test differ in the shape of a sample: [6, 5] and [5, 6]",
    ),
    "test scaled, train not": (
        _arrays() | {"x_test": np.zeros((20, 6, 5))}, "do not fit",
        "x_train and x_test differ in type: uint8 and float64",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_file_is_refused_with_all_that_is_wrong_before_an_array_is_read(
    fault: str, write: Callable[..., DataConfig]
) -> None:
    arrays, what, found = FAULTS[fault]
    config = write(arrays)
    for read in (data.input_shapes, data.load):
        with pytest.raises(InputError, match=r"mine\.npz") as refused:
            read(config)
        assert what in refused.value.what
        assert sorted(refused.value.found.split("; ")) == sorted(found.split("; "))
        assert refused.value.expected.startswith("numbers x_train [n, height, width]")
        assert "x_test and y_test in the same way, or neither" in refused.value.expected
        assert refused.value.todo.startswith("numpy.savez_compressed(FILE, x_train=")


@pytest.mark.parametrize(
    ("labels", "keys", "expected", "found"),
    [
        (LABELS - 1, {}, "each from 0 to 59, fewer than there are samples", "labels from -1 to 1"),
        (LABELS * 30, {}, "each from 0 to 59, fewer than there are samples", "labels from 0 to 60"),
        (LABELS * 0 + 2, {}, "at least two different labels", "the label 2 on all 60 samples"),
        (LABELS, {"classes": ("a", "b")}, "each from 0 to 1, the positions in data.classes", "labels from 0 to 2"),
    ],
    ids=["negative", "ids", "one class", "too few names"],
)
def test_labels_are_refused_when_they_are_no_numbers_of_classes(
    labels: np.ndarray, keys: dict[str, Any], expected: str, found: str, write: Callable[..., DataConfig]
) -> None:
    config = write(_without(_arrays(), "x_test", "y_test") | {"y_train": labels}, **keys)
    with pytest.raises(InputError, match="are no numbers of classes") as refused:
        data.load(config)
    assert expected in refused.value.expected
    assert refused.value.found == found
    assert refused.value.todo.startswith("number the classes from 0")


def test_values_that_are_not_finite_are_refused(write: Callable[..., DataConfig]) -> None:
    arrays = _arrays()
    arrays |= {name: arrays[name].astype(np.float32) for name in ("x_train", "x_test")}
    arrays["x_test"][3, 2, 1] = np.nan
    with pytest.raises(InputError, match="'npz' holds values that are not finite") as refused:
        data.load(write(arrays))
    place = len(arrays["x_train"]) + 3
    assert refused.value.found == (
        f"1 such values in the test split, in the input image, first in sample {place} of the data (counted from 0)"
    )


def _whole(tmp_path: Path) -> bytes:
    np.savez(tmp_path / "whole.npz", **_arrays())
    return (tmp_path / "whole.npz").read_bytes()


@pytest.mark.parametrize(
    "damage",
    [
        lambda _whole: b"",
        lambda _whole: b"x_train,y_train\n1,2\n",
        lambda whole: whole[: len(whole) // 2],
        lambda whole: whole.replace(b"NUMPY", b"NUMPX"),
        lambda whole: whole[:60] + bytes(40) + whole[100:],
    ],
    ids=["empty", "text", "truncated", "magic", "overwritten"],
)
def test_file_is_refused_when_it_is_no_whole_npz(
    damage: Callable[[bytes], bytes], tmp_path: Path, write: Callable[..., DataConfig]
) -> None:
    config = write(damage(_whole(tmp_path)))
    with pytest.raises(InputError, match=r"mine\.npz is not a readable \.npz file") as refused:
        data.load(config)
    assert refused.value.expected.startswith("a whole .npz file")
    assert refused.value.found
    assert refused.value.todo.startswith("get the file again, or write one: numpy.savez_compressed(")


def test_no_damaged_byte_is_a_traceback(tmp_path: Path, write: Callable[..., DataConfig]) -> None:
    whole = _whole(tmp_path)
    random = np.random.default_rng(0)
    for place in random.integers(0, len(whole), 200):
        config = write(whole[:place] + bytes([random.integers(0, 256)]) + whole[place + 1 :])
        try:
            data.load(config)
        except InputError as error:
            assert "mine.npz" in error.what


def test_file_is_refused_when_it_is_compressed_as_numpy_never_does(
    tmp_path: Path, write: Callable[..., DataConfig]
) -> None:
    config = write(_arrays())
    with zipfile.ZipFile(tmp_path / "mine.npz", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("x_train.npy", b"")
    with pytest.raises(InputError, match=r"is not a readable \.npz file") as refused:
        data.load(config)
    assert refused.value.found == "x_train.npy in a compression that numpy does not write"


def test_file_is_refused_when_an_array_says_that_it_is_larger_than_it_is(
    tmp_path: Path, write: Callable[..., DataConfig]
) -> None:
    config = write(_arrays())
    huge = b"{'descr': '<i8', 'fortran_order': False, 'shape': (%d, 9, 9), }" % 10**14
    with zipfile.ZipFile(tmp_path / "mine.npz", "w") as archive:
        for name, header in (("x_train", huge), ("y_train", huge.replace(b", 9, 9", b", "))):
            archive.writestr(f"{name}.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(InputError, match=r"is not a readable \.npz file") as refused:
        data.load(config)
    assert refused.value.found == f"x_train says that it has {8 * 81 * 10**14:,} bytes, and has {10 + len(huge)}"


@pytest.mark.parametrize(
    ("name", "found"),
    [("no.npz", "no such file: "), ("", "a folder"), ("pipe", "neither a file nor a folder"), ("a" * 300, "too long")],
    ids=["absent", "folder", "pipe", "long name"],
)
def test_run_is_refused_when_the_file_cannot_be_read_but_the_recipe_is_not(
    name: str, found: str, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    config = DataConfig(source="npz", path=str(tmp_path / name))
    assert data.input_shapes(config) is None
    for read in (data.content_hash, data.load):
        with pytest.raises(InputError, match="cannot be read") as refused:
            read(config)
        assert refused.value.expected == "a file in the format .npz"
        assert found in refused.value.found
        assert refused.value.todo.startswith("--set data.path=FILE")


def test_run_is_refused_when_the_file_is_forbidden(tmp_path: Path, write: Callable[..., DataConfig]) -> None:
    config = write(_arrays())
    (tmp_path / "mine.npz").chmod(0)
    user = os.geteuid()
    os.seteuid(user or 65534)  # root may read everything: for a moment this process is nobody
    try:
        with pytest.raises(InputError, match="cannot be read") as refused:
            data.content_hash(config)
    finally:
        os.seteuid(user)
    assert refused.value.found == "Permission denied"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no.npz", "the data file no.npz cannot be read"),
        ("mine.npz", "the data file mine.npz is not a readable .npz file"),
    ],
)
def test_command_ends_before_training_with_exit_2(
    name: str, words: str, tmp_path: Path, write: Callable[..., DataConfig]
) -> None:
    write(b"PK and then nothing")
    overrides = options(["data.source=npz", f"data.path={name}", "serving=null"])
    done = modelmill("run", "digits", *overrides, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert "train: runs" not in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_recipe_is_loaded_without_its_data_file() -> None:
    assert recipe.load("digits", ["data={source: npz, path: nowhere/no.npz}"]).data.path == "nowhere/no.npz"


def test_model_is_checked_against_the_shape_in_the_file(write: Callable[..., DataConfig]) -> None:
    path = write(_arrays((7,))).path
    with pytest.raises(InputError, match=r"inputs of shape \(7,\)"):
        recipe.load("digits", [f"data={{source: npz, path: {path}}}"])


def test_content_hash_is_that_of_the_file_wherever_it_is(tmp_path: Path, write: Callable[..., DataConfig]) -> None:
    config = write(_arrays())
    before = data.content_hash(config)
    assert before == hashlib.sha256((tmp_path / "mine.npz").read_bytes()).hexdigest()
    moved = config.model_copy(update={"path": str((tmp_path / "mine.npz").rename(tmp_path / "moved.npz"))})
    assert data.content_hash(moved) == before
    assert moved.decisive() == config.decisive()
    assert data.content_hash(write(_arrays() | {"y_test": np.zeros(20, np.int64)})) != before


def test_content_hash_imports_no_numpy(tmp_path: Path, write: Callable[..., DataConfig]) -> None:
    write(_arrays())
    code = (
        "import sys; from pipeline import data; c = data.DataConfig(source='npz', path=sys.argv[1]); "
        "data.content_hash(c); sys.exit('numpy' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "mine.npz")], check=True)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"source": "npz"}, "the source npz needs path, a file with the arrays x_train, y_train, x_test, y_test"),
        ({"path": "a.npz"}, "the source digits takes no path: for a file of your own, set source to npz"),
        ({"classes": ("a", "b"), "input_name": "x"}, "the source digits takes no input_name, classes"),
        ({"source": "npz", "path": ""}, "at least 1 character"),
        ({"source": "npz", "path": "a.npz", "input_name": "in/put"}, "should match pattern"),
        ({"source": "npz", "path": "a.npz", "input_name": "logits"}, "input_name is 'logits', which names an output"),
        ({"source": "npz", "path": "a.npz", "classes": ("a",)}, "at least 2 items"),
    ],
)
def test_config_is_refused_when_its_keys_are_not_of_the_source(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        DataConfig(**keys)


def test_config_survives_a_round_trip() -> None:
    config = DataConfig(source="npz", path="a.npz", input_name="pixels", classes=("a", "b"))
    assert DataConfig.model_validate(config.model_dump(mode="json")) == config


@pytest.mark.long
@pytest.mark.skipif("MODELMILL_TEST_MNIST" not in os.environ, reason="MODELMILL_TEST_MNIST names no file")
def test_mnist_of_keras_is_read_with_its_own_test_split() -> None:
    config = DataConfig(source="npz", path=os.environ["MODELMILL_TEST_MNIST"])
    splits = data.load(config)
    assert splits.spec.input.shape == (28, 28, 1)
    assert data.input_shapes(config) == {"image": (28, 28, 1)}
    assert (splits.spec.input.name, splits.spec.input.value_range) == ("image", (0, 255))
    assert splits.spec.head.classes == tuple("0123456789")
    sizes = [len(part.y) for part in (splits.train, splits.validation, splits.calibration, splits.test)]
    assert sizes == [45_000, 11_250, 3_750, 10_000]
    assert splits.test.y[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]


def _several() -> Arrays:
    rng = np.random.default_rng(0)
    return {
        "x_train_left": rng.random((40, 6, 5)), "x_train_right": rng.random((40, 3)),
        "y_train_kind": np.arange(40) % 3, "y_train_size": rng.random((40, 2)),
        "x_test_left": rng.random((10, 6, 5)), "x_test_right": rng.random((10, 3)),
        "y_test_kind": np.arange(10) % 3, "y_test_size": rng.random((10, 2)),
    }  # fmt: skip


def test_arrays_with_names_are_several_inputs_and_outputs(write: Callable[..., DataConfig]) -> None:
    arrays = _several()
    config = write(arrays)
    assert data.input_shapes(config) == {"left": (6, 5, 1), "right": (3,)}
    splits = data.load(config)
    assert [(one.name, one.shape) for one in splits.spec.inputs] == [("left", (6, 5, 1)), ("right", (3,))]
    assert [(one.name, one.task, one.shape) for one in splits.spec.heads] == [
        ("kind", "classification", (3,)), ("size", "regression", (2,))
    ]  # fmt: skip
    assert splits.spec.heads[1].deviation == pytest.approx(arrays["y_train_size"].std(axis=0), abs=0.1)
    assert isinstance(splits.test.x, dict)
    assert isinstance(splits.test.y, dict)
    np.testing.assert_allclose(splits.test.x["right"], arrays["x_test_right"], rtol=1e-6)
    np.testing.assert_allclose(splits.test.y["size"], arrays["y_test_size"], rtol=1e-6)
    assert len(splits.train) + len(splits.validation) + len(splits.calibration) == 40


def test_floats_are_a_regression_where_the_recipe_says_so(write: Callable[..., DataConfig]) -> None:
    arrays = _arrays()
    arrays |= {name: arrays[name] / 7 for name in ("y_train", "y_test")}
    splits = data.load(write(arrays, task="regression"))
    assert splits.spec.head.task == "regression"
    assert splits.train.y.shape == (len(splits.train), 1)
    with pytest.raises(InputError, match="y_train holds float64"):
        data.load(write(arrays))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"x_train": np.zeros((40, 2)), "x_test": np.zeros((10, 2))},
            "x_train stands beside x_train_left, x_train_right",
        ),
        (
            {"x_train_right": np.zeros((39, 3))},
            "x_train_left and x_train_right differ in length: [40, 6, 5] and [39, 3]",
        ),
        (
            {"y_test_size": np.zeros((10, 1))},
            "y_train_size and y_test_size differ in the shape of a sample: [2] and [1]",
        ),
    ],
)
def test_named_arrays_have_to_fit_each_other(change: Arrays, said: str, write: Callable[..., DataConfig]) -> None:
    with pytest.raises(InputError) as refused:
        data.load(write(_several() | change))
    assert said in str(refused.value.found)


def test_an_array_that_the_test_lacks_is_named(write: Callable[..., DataConfig]) -> None:
    arrays = _several()
    del arrays["y_test_size"]
    with pytest.raises(InputError, match="lacks y_test_size"):
        data.load(write(arrays))


def test_one_output_needs_no_name(write: Callable[..., DataConfig]) -> None:
    arrays = _several()
    for name in ("y_train_size", "y_test_size"):
        del arrays[name]
    splits = data.load(write(arrays))
    assert (splits.spec.head.name, splits.spec.head.end) == ("", "logits")
    assert splits.test.y.tolist() == arrays["y_test_kind"].tolist()


def test_reconstruction_wants_no_labels(write: Callable[..., DataConfig]) -> None:
    arrays = {"x_train": _arrays()["x_train"], "x_test": _arrays()["x_test"]}
    splits = data.load(write(arrays, task="reconstruction"))
    assert (splits.spec.head.task, splits.spec.head.shape) == ("reconstruction", splits.spec.input.shape)
    assert isinstance(splits.test.y, np.ndarray)
    assert splits.test.y.min() >= 0
    assert splits.test.y.max() <= 1
    ordinary = data.load(
        write(_arrays() | {"y_train": np.zeros(60, int), "y_test": np.zeros(20, int)}, task="reconstruction")
    )
    assert len(ordinary.test) == 20


def test_keys_of_the_one_input_are_refused_where_there_are_several(write: Callable[..., DataConfig]) -> None:
    with pytest.raises(InputError, match=r"data\.value_range is of one input or output"):
        data.load(write(_several(), value_range=(0, 1)))


def test_full_disk_is_not_blamed_on_the_file_that_is_unpacked(write: Callable[..., DataConfig], tmp_path: Path) -> None:
    config = write(_arrays((80, 80), train=120), memory_mb=1)
    (tmp_path / "full").mkdir()
    for name in ("x_train", "y_train", "x_test", "y_test"):
        (tmp_path / "full" / f"{name}.npy").symlink_to("/dev/full")

    def prepare(unpack: Callable[[Path], None]) -> Path:
        unpack(tmp_path / "full")
        return tmp_path / "full"

    with pytest.raises(DiskError, match=r"cannot write .*full") as full:
        npz.load(config, prepare)
    assert full.value.exit_code == 4
