from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from pipeline import data, legacy_keras
from pipeline.data import DataConfig
from pipeline.data.sources import tfrecord
from pipeline.data.sources.source import Source
from pipeline.errors import InputError
from tests.pipeline.data.sources.preparing import prepare_in

Read = Callable[[DataConfig], Source]
_IMAGE = {"image": {"kind": "image", "shape": [2, 3, 1], "feature": "image/encoded"}}


def _example(**features: Any) -> Any:
    """Return a tf.train.Example; floats, integers, and bytes or texts become the lists that they fit."""
    legacy_keras.load()
    import tensorflow as tf

    made = {}
    for name, value in features.items():
        values = np.atleast_1d(value).tolist() if not isinstance(value, bytes) else [value]
        if isinstance(values[0], bytes):
            made[name] = tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
        elif isinstance(values[0], float):
            made[name] = tf.train.Feature(float_list=tf.train.FloatList(value=values))
        else:
            made[name] = tf.train.Feature(int64_list=tf.train.Int64List(value=values))
    return tf.train.Example(features=tf.train.Features(feature=made))


def _write(path: Path, examples: Sequence[Any]) -> Path:
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(path), "GZIP" if path.suffix == ".gz" else "") as writer:
        for example in examples:
            writer.write(example.SerializeToString())
    return path


def _config(path: Path, features: dict[str, Any], keys: dict[str, Any] | None = None, **section: Any) -> DataConfig:
    fields = {"source": "tfrecord", "path": str(path), "tfrecord": {"features": features, **section}}
    return DataConfig.model_validate(fields | (keys or {}))


@pytest.fixture
def read(tmp_path: Path) -> Read:
    return lambda config: tfrecord.load(config, prepare_in(tmp_path))


def _png(value: int, shape: tuple[int, ...] = (2, 3, 1)) -> bytes:
    legacy_keras.load()
    import tensorflow as tf

    content: bytes = tf.io.encode_png(np.full(shape, value, np.uint8)).numpy()
    return content


def test_images_and_class_numbers_come_from_all_files_of_a_folder(tmp_path: Path, read: Read) -> None:
    (tmp_path / "data").mkdir()
    rows = [_example(**{"image/encoded": _png(10 * row), "label": row % 2}) for row in range(5)]
    _write(tmp_path / "data" / "a.tfrecord-00000-of-00002", rows[:3])
    _write(tmp_path / "data" / "b-test.tfrecord.gz", rows[3:])
    config = _config(tmp_path / "data", _IMAGE, test="*test*")
    source = read(config)
    assert source.x["image"].dtype == np.uint8
    assert source.x["image"][:, 1, 2, 0].tolist() == [0, 10, 20, 30, 40]
    assert source.targets[""].classes == ("0", "1")
    assert source.targets[""].y.tolist() == [0, 1, 0, 1, 0]
    assert source.given["test"].tolist() == [3, 4]
    assert data.input_shapes(config) == {"image": (2, 3, 1)}
    assert len(tfrecord.files(_config(tmp_path / "data" / "*.tfrecord*", _IMAGE))) == 2
    with pytest.raises(InputError, match=r"data\.tfrecord\.test fits none of the files"):
        read(_config(tmp_path / "data", _IMAGE, test="*tset*"))


def test_numbers_texts_and_raw_arrays_are_inputs_of_their_own(tmp_path: Path, read: Read) -> None:
    pixels = np.arange(6, dtype="<i2").reshape(2, 3)
    row = _example(age=[1.5, 2.5], count=7, said="grüß".encode(), pixels=pixels.tobytes(), label=[0.25, 4.0])
    path = _write(tmp_path / "a.tfrecord", [row, row])
    features = {
        "age": {"kind": "float", "shape": [2]}, "count": {"kind": "int", "shape": [1]}, "said": {"kind": "text"},
        "pixels": {"kind": "raw", "dtype": "int16", "shape": [2, 3]},
    }  # fmt: skip
    source = read(_config(path, features, {"task": "regression"}))
    assert source.x["age"].tolist() == [[1.5, 2.5]] * 2
    assert source.x["count"].tolist() == [[7]] * 2
    assert list(source.x["said"]) == ["grüß"] * 2
    assert source.x["pixels"].shape == (2, 2, 3, 1)
    assert np.array_equal(source.x["pixels"][0, ..., 0], pixels)
    assert source.targets[""].y.tolist() == [[0.25, 4.0]] * 2


def test_labels_are_names_or_several_of_0_and_1(tmp_path: Path, read: Read) -> None:
    features = {"x": {"kind": "float", "shape": [1]}}
    named = _write(tmp_path / "a.tfrecord", [_example(x=1.0, label=name) for name in (b"ham", b"spam", b"eggs")])
    target = read(_config(named, features)).targets[""]
    assert (target.classes, target.y.tolist()) == (("eggs", "ham", "spam"), [1, 2, 0])
    several = _write(tmp_path / "b.tfrecord", [_example(x=1.0, label=[0, 1, 1]), _example(x=1.0, label=[1, 0, 1])])
    keys = {"task": "multilabel", "classes": ["a", "b", "c"]}
    target = read(_config(several, features, keys)).targets[""]
    assert (target.classes, target.y.tolist()) == (("a", "b", "c"), [[0, 1, 1], [1, 0, 1]])
    with pytest.raises(InputError, match="the label label of the records does not fit the task classification"):
        read(_config(several, features))
    assert read(_config(several, features, {"task": "reconstruction"}, label=None)).targets == {}


def test_a_damaged_record_is_named_with_its_file_and_number(tmp_path: Path, read: Read) -> None:
    rows = [_example(x=1.0, label=row % 2) for row in range(4)]
    path = _write(tmp_path / "a.tfrecord", rows)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 + 20] ^= 1  # inside of the third of four
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"record 3 of .*a\.tfrecord is damaged"):
        read(_config(path, {"x": {"kind": "float", "shape": [1]}}))
    path.write_bytes(_write(tmp_path / "b.tfrecord", rows).read_bytes()[:-3])
    with pytest.raises(InputError, match=r"record 4 of .*a\.tfrecord is damaged"):
        read(_config(path, {"x": {"kind": "float", "shape": [1]}}))


@pytest.mark.parametrize(
    ("features", "found"),
    [
        ({"y": {"kind": "float", "shape": [1]}}, "nothing; features image/encoded, label, x"),
        ({"x": {"kind": "int", "shape": [1]}}, "floats; features image/encoded, label, x"),
        ({"x": {"kind": "float", "shape": [3]}}, "1"),
        ({"image": {"kind": "image", "shape": [3, 3, 1], "feature": "image/encoded"}}, r"[2, 3, 1]"),
        ({"image": {"kind": "raw", "shape": [3], "feature": "image/encoded"}}, str(len(_png(0)))),
        ({"image": {"kind": "text", "feature": "image/encoded"}}, "'utf-8' codec can't decode byte 0x89"),
        ({"image": {"kind": "image", "shape": [2, 3, 1], "feature": "label"}}, "integers; features"),
    ],
)
def test_a_record_that_is_not_what_the_recipe_says_is_named(
    features: dict[str, Any], found: str, tmp_path: Path, read: Read
) -> None:
    row = _example(**{"x": 1.0, "label": 1, "image/encoded": _png(0)})
    with pytest.raises(InputError, match=r"of record 1 of .*a\.tfrecord is not what the recipe says") as refused:
        read(_config(_write(tmp_path / "a.tfrecord", [row]), features))
    assert refused.value.found.startswith(found)


def test_labels_of_different_kinds_and_absent_files_are_refused(tmp_path: Path, read: Read) -> None:
    features = {"x": {"kind": "float", "shape": [1]}}
    path = _write(tmp_path / "a.tfrecord", [_example(x=1.0, label=1), _example(x=1.0, label=b"two")])
    with pytest.raises(InputError, match=r"the label label of record 2 of .* is not like the others"):
        read(_config(path, features))
    with pytest.raises(InputError, match="there are no records at"):
        read(_config(tmp_path / "none", features))
    with pytest.raises(InputError, match="hold no records"):
        read(_config(_write(tmp_path / "b.tfrecord", []), features))


@pytest.mark.parametrize(
    ("feature", "message"),
    [
        ({"kind": "float"}, "shape is missing"),
        ({"kind": "image", "shape": [28, 28]}, "the shape of an image is"),
        ({"kind": "text", "shape": [1]}, "a text has no shape"),
    ],
)
def test_features_that_cannot_be_are_refused(feature: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        _config(Path("a.tfrecord"), {"x": feature})
    with pytest.raises(ValidationError, match="the source tfrecord needs a section tfrecord"):
        DataConfig(source="tfrecord", path="a.tfrecord")
