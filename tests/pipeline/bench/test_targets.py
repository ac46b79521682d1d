"""What a TARGET may be, and what is said of one that is nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.bench import targets
from pipeline.bench.targets import Image
from pipeline.errors import InputError
from pipeline.measuring.source import File
from serving.client.endpoint import Endpoint
from tests.pipeline.finished_run import LITE, MODEL, ONNX, write


def one(text: str) -> object:
    (found,) = targets.find([text])
    return found.what


def test_files_are_known_by_their_ending_and_named_by_their_last_part(tmp_path: Path) -> None:
    for name in ("a.tflite", "b.onnx"):
        (tmp_path / name).touch()
    found = targets.find([str(tmp_path / "a.tflite"), str(tmp_path / "b.onnx")])
    assert [target.name for target in found] == ["a.tflite", "b.onnx"]
    assert [target.what for target in found] == [
        File("tflite", tmp_path / "a.tflite"), File("onnx", tmp_path / "b.onnx")
    ]  # fmt: skip


def test_files_of_the_same_name_are_named_whole_and_the_same_one_twice_gets_a_number(tmp_path: Path) -> None:
    paths = [tmp_path / folder / "m.onnx" for folder in ("one", "two")]
    for path in paths:
        path.parent.mkdir()
        path.touch()
    found = targets.find([str(paths[0]), str(paths[1]), str(paths[1])])
    assert [target.name for target in found] == [str(paths[0]), str(paths[1]), f"{paths[1]} (2)"]


def test_folder_of_versions_stands_for_the_newest(tmp_path: Path) -> None:
    for version in ("9", "10", "junk"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "saved_model.pb").touch()
    assert one(str(tmp_path)) == File("saved_model", tmp_path / "10")
    assert one(str(tmp_path / "9")) == File("saved_model", tmp_path / "9")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("grpc://h:8500", ("grpc://h:8500", "model", None, None)),
        ("grpc://h:8500/digits", ("grpc://h:8500", "digits", None, None)),
        ("grpcs://[::1]:1/digits/versions/7", ("grpcs://[::1]:1", "digits", 7, None)),
        ("grpc://h:8500/digits/labels/canary", ("grpc://h:8500", "digits", None, "canary")),
        ("http://h:8501", ("http://h:8501", "model", None, None)),
        ("https://h:1/pre/v1/models/a%20b/versions/2", ("https://h:1/pre", "a b", 2, None)),
    ],
)
def test_endpoint_is_read_with_its_model(text: str, expected: tuple[str, str, int | None, str | None]) -> None:
    assert one(text) == Endpoint(*expected, deadline_s=targets.REQUEST_S)


def test_image_may_have_slashes_and_a_model_behind_it() -> None:
    assert one("docker:reg:5000/team/digits:3") == Image("reg:5000/team/digits:3", None, None, None)
    assert one("docker:digits:3/v1/models/d/versions/1") == Image("digits:3", "d", 1, None)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("nothing.tflite", "nothing there"),
        ("grpc://nowhere", "an address without HOST:PORT"),
        ("grpc://h:99999", "an address without HOST:PORT"),
        ("grpc://h:1/a/b/c", "a/b/c"),
        ("docker:", "no image behind docker:"),
    ],
)
def test_what_is_nothing_is_told_with_what_would_be_something(text: str, found: str) -> None:
    with pytest.raises(InputError) as caught:
        one(text)
    assert found in caught.value.found
    assert text in caught.value.what


@pytest.mark.parametrize(
    ("text", "todo"),
    [
        ("127.0.0.1:8500", "grpc://127.0.0.1:8500, or http://127.0.0.1:8500 for REST"),
        ("localhost:8501/v1/models/m", "http://localhost:8501/v1/models/m for REST"),
        ("grcp://h:8500/m", "did you mean grpc://h:8500/m?"),
        ("s3://bucket/m", "a server is asked by grpc://, "),
        ("modl.onnx", "did you mean model.onnx?"),
        ("elsewhere/m.onnx", "give a path that exists, seen from "),
        ("notes.txt", "give a file that ends in .tflite or .onnx"),
        ("m.keras", "modelmill export --model FILE"),
    ],
)
def test_what_is_nearly_something_is_told_what_was_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, todo: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("model.onnx", "notes.txt", "m.keras"):
        Path(name).touch()
    with pytest.raises(InputError) as caught:
        one(text)
    assert todo in caught.value.todo


def test_other_file_and_empty_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "m.keras").touch()
    with pytest.raises(InputError, match=r"ends in \.keras"):
        one(str(tmp_path / "m.keras"))
    with pytest.raises(InputError, match=r"neither saved_model\.pb nor version folders"):
        one(str(tmp_path))


def test_artifact_of_a_run_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no report\.json"):
        one(f"{tmp_path}/none:train.tflite.float32")


def test_run_is_its_artifact_to_serve_or_the_one_behind_the_colon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    home = write(Path("runs/mine"))
    folder = home / "artifacts"
    for text, wanted in (
        ("mine", File("saved_model", folder / MODEL / "1")),
        ("runs/mine", File("saved_model", folder / MODEL / "1")),
        (f"mine:{LITE}", File("tflite", folder / f"{LITE}.tflite")),
        (f"mine:{ONNX}", File("onnx", folder / f"{ONNX}.onnx")),
    ):
        assert one(text) == wanted
    (folder / f"{LITE}.tflite").write_bytes(b"another")
    with pytest.raises(InputError, match="is damaged"):
        one(f"mine:{LITE}")
    (folder / MODEL / "1/extra").symlink_to(tmp_path)
    with pytest.raises(InputError, match="not the run's own"):
        one("mine")
