"""The records of a file, read by TensorFlow, and what is in one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import InputError
from pipeline.legacy_keras import load as load_keras

if TYPE_CHECKING:
    from pipeline.data.sources.tfrecord.config import Feature

_LISTS = {"float_list": "floats", "int64_list": "integers", "bytes_list": "bytes", None: "nothing"}


def count(path: Path) -> int:
    """Return the number of records in a file, each with its checksums tested.

    Raises:
        InputError: one is damaged.
    """
    return sum(1 for _ in _raw(path))


def examples(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield (number from 1, tf.train.Example) for each record.

    Raises:
        InputError: one is damaged, or no Example.
    """
    load_keras()
    import tensorflow as tf
    from google.protobuf.message import DecodeError

    for number, content in enumerate(_raw(path), 1):
        try:
            example = tf.train.Example.FromString(content)
        except DecodeError as error:
            raise _damaged(path, number, str(error) or "no tf.train.Example") from None
        yield number, example


def _raw(path: Path) -> Iterator[bytes]:
    load_keras()
    import tensorflow as tf

    kind = "GZIP" if path.suffix == ".gz" else ""
    options = tf.io.TFRecordOptions(compression_type=kind)
    number = 0
    try:
        for content in tf.compat.v1.io.tf_record_iterator(str(path), options):
            number += 1
            yield content
    except tf.errors.OpError as error:
        raise _damaged(path, number + 1, error.message) from None


def _damaged(path: Path, number: int, found: str) -> InputError:
    return InputError(
        f"record {number} of {path} is damaged", expected="a whole TFRecord file of tf.train.Example",
        found=(found.splitlines() or ["nothing"])[0], todo="get the file again, or write it again",
    )  # fmt: skip


def kind(example: Any, name: str) -> str | None:
    """Return which list a feature of an Example is in; None where it has none."""
    found: str | None = example.features.feature[name].WhichOneof("kind") if name in example.features.feature else None
    return found


def value(example: Any, feature: Feature, name: str, where: str) -> Any:
    """Return a feature of an Example: numpy [*shape] in the type that it is kept in, or a text.

    Args:
        name: in the record.
        where: for messages, "record 3 of FILE".

    Raises:
        InputError: it is not there, of another kind or size, or not readable.
    """
    import numpy as np

    wanted = {"float": "float_list", "int": "int64_list"}.get(feature.kind, "bytes_list")
    found = kind(example, name)
    if found != wanted:
        others = ", ".join(sorted(example.features.feature))
        raise _refused(name, where, _LISTS[wanted], f"{_LISTS[found]}; features {others}")
    values = getattr(example.features.feature[name], wanted).value
    size = feature.size if feature.kind in ("float", "int") else 1
    if len(values) != size:
        raise _refused(name, where, f"{size} values", f"{len(values)}")
    if feature.kind in ("float", "int"):
        return np.array(values, feature.stored).reshape(feature.shape)
    if feature.kind == "text":
        try:
            return values[0].decode()
        except UnicodeDecodeError as error:
            raise _refused(name, where, "a text in UTF-8", str(error)) from None
    if feature.kind == "raw":
        dtype = np.dtype(feature.dtype).newbyteorder("<")
        if len(values[0]) != feature.size * dtype.itemsize:
            raise _refused(name, where, f"{feature.size * dtype.itemsize} bytes", f"{len(values[0])}")
        return np.frombuffer(values[0], dtype).reshape(feature.shape)
    return _image(values[0], feature, name, where)


def _image(content: bytes, feature: Feature, name: str, where: str) -> Any:
    import tensorflow as tf

    try:
        image = tf.io.decode_image(content, channels=feature.shape[2], expand_animations=False).numpy()
    except tf.errors.InvalidArgumentError as error:
        raise _refused(name, where, "a JPEG, PNG, GIF or BMP", error.message.splitlines()[0][:200]) from None
    if image.shape != feature.shape:
        raise _refused(name, where, f"an image of {list(feature.shape)}", f"{list(image.shape)}")
    return image


def _refused(name: str, where: str, expected: str, found: str) -> InputError:
    return InputError(
        f"the feature {name} of {where} is not what the recipe says", expected=expected, found=found,
        todo="correct data.tfrecord, or the file",
    )  # fmt: skip
