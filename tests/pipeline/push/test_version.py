"""The files of a version: those that were hashed, and for a .tflite what a server needs besides."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import flatbuffers
import numpy as np
import pytest
import tensorflow as tf

from pipeline import exported, finished
from pipeline.errors import InputError, RunError
from pipeline.formats.tflite.read import parsed
from pipeline.formats.tflite.write import name_ends
from pipeline.isolate import Child
from pipeline.push import version
from serving import warmup
from tests.pipeline.finished_run import FILES, LITE, MODEL, write

FILE = f"{LITE}.tflite"


@pytest.fixture(scope="module")
def child() -> Iterator[Child]:
    with Child(deadline_s=300, memory_mb=None) as one:
        yield one


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Requests of 1 and 4 samples."""
    folder = tmp_path_factory.mktemp("records")
    return warmup.write(folder, {"x": np.zeros((1, 2), np.float32)}, (1, 4)).read_bytes()


def converted(batch: int | None) -> bytes:
    """Return a .tflite that takes x, [batch, 2]."""

    class Doubling(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((batch, 2), tf.float32, name="x")])
        def double(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"y": x * 2}

    module = Doubling()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([module.double.get_concrete_function()], module)
    model = parsed(bytes(converter.convert()))
    name_ends(model)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def found(tmp_path: Path, content: bytes, records: bytes | None = None) -> tuple[exported.Exported, Path]:
    """Return the .tflite of a run that exported the content, and the run's folder."""
    more = {} if records is None else {f"{MODEL}/1/{warmup.FILE.as_posix()}": records}
    home = write(tmp_path / "runs/mine", {**FILES, FILE: content, **more})
    folder, report = finished.read(home)
    return exported.find(folder, report, LITE), home


def test_file_that_a_server_would_answer_wrongly_from_is_refused(tmp_path: Path, child: Child) -> None:
    with pytest.raises(InputError, match=rf"{LITE} cannot be served\n  found: it takes batches of 3 alone"):
        version.require_servable(found(tmp_path, converted(3))[0], child)


def test_broken_file_is_one_message_and_no_traceback(tmp_path: Path, child: Child, records: bytes) -> None:
    item, home = found(tmp_path, b"no model", records)
    with pytest.raises(InputError, match=rf"{LITE} cannot be made ready for a server(.|\n)*LiteRT"):
        version.require_servable(item, child)
    with pytest.raises(InputError, match=rf"{LITE} cannot be made ready for a server(.|\n)*LiteRT"):
        version.files(item, finished.read(home)[1], child, tmp_path)


def test_process_that_is_ended_says_nothing_of_the_file(tmp_path: Path, records: bytes) -> None:
    item, _ = found(tmp_path, b"no model", records)
    with Child(deadline_s=0.01, memory_mb=None) as slow, pytest.raises(RunError, match="run the same command again"):
        version.require_servable(item, slow)


def test_broken_records_are_one_message(tmp_path: Path, child: Child) -> None:
    item, home = found(tmp_path, converted(None), b"no records" * 10)
    with pytest.raises(InputError, match="cannot be made ready for a server"):
        version.files(item, finished.read(home)[1], child, tmp_path)


def test_records_of_a_damaged_saved_model_are_not_read(tmp_path: Path, child: Child, records: bytes) -> None:
    item, home = found(tmp_path, b"no model", records)
    (home / "artifacts" / MODEL / "1" / warmup.FILE).write_bytes(b"other")
    with pytest.raises(InputError, match=f"{MODEL} is damaged"):
        version.files(item, finished.read(home)[1], child, tmp_path)


def test_version_is_the_file_its_names_and_records(tmp_path: Path, child: Child, records: bytes) -> None:
    item, home = found(tmp_path, converted(None), records)
    version.require_servable(item, child)
    made = version.files(item, finished.read(home)[1], child, tmp_path / "private")
    assert set(made) == {
        "model.tflite", "assets.extra/labels.txt", "assets.extra/columns.json", warmup.FILE.as_posix()
    }  # fmt: skip
    folder = version.folder(made, tmp_path / "version")
    assert {one.relative_to(folder).as_posix() for one in folder.rglob("*") if one.is_file()} == set(made)
    assert [warmup.batch(one) for one in warmup.read(folder)] == [1, 4]


def test_file_that_came_after_the_hashing_is_not_part_of_a_version(tmp_path: Path, child: Child) -> None:
    home = write(tmp_path / "runs/mine")
    folder, report = finished.read(home)
    item = exported.find(folder, report, MODEL)
    (home / "artifacts" / MODEL / "1/extra").symlink_to(tmp_path)
    made = version.files(item, report, child, tmp_path / "private")
    assert set(made) == {"saved_model.pb", "variables/x"}
