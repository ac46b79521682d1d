"""What of a run's artifact may leave it: by whatever name it is asked for, and whoever made the folder."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline import exported, finished
from pipeline.errors import BusyError, InputError
from pipeline.files import write_json
from pipeline.lock import Lock
from pipeline.run_folder import LOCK, REPORT
from tests.pipeline.finished_run import MODEL, ONNX, OTHER, write


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write(Path("runs/mine"))


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A folder of the user's that is no part of any run."""
    folder = tmp_path / "ssh"
    folder.mkdir()
    (folder / "id").write_text("secret")
    return folder


def find(text: str, artifact: str | None = None, formats: tuple[str, ...] = exported.SERVABLE) -> exported.Exported:
    name, wanted = exported.named(text, artifact)
    return exported.find(*finished.read(name), wanted, formats)


def test_artifact_is_found_by_every_name_of_it(run: Path) -> None:
    for text, artifact, name in (
        ("mine", None, MODEL), (f"mine:{OTHER}", None, OTHER), (str(run), OTHER, OTHER),
        (f"{run}:{OTHER}", OTHER, OTHER),
    ):  # fmt: skip
        found = find(text, artifact)
        assert (found.item.id, found.path) == (name, run / "artifacts" / name)
        assert found.below("1") == {
            part: run / "artifacts" / name / "1" / part for part in ("saved_model.pb", "variables/x")
        }
        assert set(found.beside()) == {"labels.txt", "columns.json"}
        assert found.store() == Path("runs/.store").resolve()


def test_folder_with_a_colon_in_its_name_is_a_run(run: Path) -> None:
    run.rename("runs/a:b")
    assert find("a:b").run == Path("runs/a:b")
    assert find(f"a:b:{OTHER}").item.id == OTHER


@pytest.mark.parametrize(
    ("text", "artifact", "message"),
    [
        ("mine:nothing", None, rf"has no artifact nothing\n  expected: a SavedModel or a .tflite, one of: {OTHER}, "),
        (f"mine:{ONNX}", None, rf"{ONNX} is an .onnx\n  expected: a SavedModel or a .tflite\n  found: onnx"),
        ("mine", "train.tflite.float16", r"could not be made\n  found: the converter refused"),
        (f"mine:{MODEL}", OTHER, "name different ones"),
        ("mine:", None, "names no artifact of a run"),
        ("other", None, r"has no report\.json"),
    ],
)
def test_name_of_nothing_that_can_be_used_is_told(text: str, artifact: str | None, message: str, run: Path) -> None:
    assert run.exists()
    with pytest.raises(InputError, match=message):
        find(text, artifact)


def linked_folder(run: Path, secret: Path) -> None:
    (run / "artifacts" / MODEL / "1/extra").symlink_to(secret)


def linked_file(run: Path, secret: Path) -> None:
    path = run / "artifacts/labels.txt"
    same = secret / "same"
    path.replace(same)  # with what export wrote, so that its hash is no help
    path.symlink_to(same)


def linked_model(run: Path, secret: Path) -> None:
    (run / "artifacts" / MODEL).replace(secret / "model")
    (run / "artifacts" / MODEL).symlink_to(secret / "model")


def linked_artifacts(run: Path, secret: Path) -> None:
    (run / "artifacts").replace(secret / "artifacts")
    (run / "artifacts").symlink_to(secret / "artifacts")


def pipe(run: Path, secret: Path) -> None:  # noqa: ARG001
    os.mkfifo(run / "artifacts" / MODEL / "1/pipe")


@pytest.mark.parametrize("changed", [linked_folder, linked_file, linked_model, linked_artifacts, pipe])
def test_link_in_a_run_is_refused_and_not_followed(
    changed: Callable[[Path, Path], None], run: Path, secret: Path
) -> None:
    changed(run, secret)
    with pytest.raises(InputError, match=r"has files that are not the run's own(.|\n)*is (a link|neither)"):
        find("mine")


@pytest.mark.parametrize("name", [f"{MODEL}/1/saved_model.pb", "labels.txt", "columns.json", f"{MODEL}/1/more"])
def test_file_that_is_not_as_export_wrote_it_is_told(name: str, run: Path) -> None:
    (run / "artifacts" / name).write_bytes(b"other")
    with pytest.raises(InputError, match=rf"{MODEL} is damaged(.|\n)*changed, removed or added: {name}"):
        find("mine")
    (run / "artifacts" / name).unlink()
    if not name.endswith("more"):
        with pytest.raises(InputError, match=f"changed, removed or added: {name}"):
            find("mine")


@pytest.mark.parametrize("content", [None, b"{", b"{}"])
def test_run_whose_store_is_gone_or_broken_cannot_be_checked(content: bytes | None, run: Path) -> None:
    manifest = run / "stages/export/manifest.json"
    manifest.unlink()
    if content is not None:
        manifest.write_bytes(content)
    with pytest.raises(InputError, match=r"cannot be checked for damage(.|\n)*stages/export/manifest.json"):
        find("mine")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("path", "artifacts/../../ssh"), ("path", "/etc"), ("path", "stages/export/x"), ("path", "artifacts/a/b"),
        ("stage", "../.."), ("id", "/etc/x"), ("labels", ["../ssh/id"]), ("labels", ["/etc/passwd"]),
        ("beside", [".."]),
    ],
)  # fmt: skip
def test_name_in_a_report_that_leaves_its_folder_is_refused(key: str, value: object, run: Path) -> None:
    report = json.loads((run / REPORT).read_text("utf-8"))
    report["artifacts"][1][key] = value
    write_json(run / REPORT, report)
    with pytest.raises(InputError, match=rf"is not a report of this version(.|\n)*artifacts\.1\.{key}"):
        find("mine")


def test_run_is_read_by_several_and_not_while_it_is_written(run: Path) -> None:
    with finished.opened(Path("mine")), finished.opened(run) as (folder, report):
        assert (folder, report.recipe) == (run, "mine")
        with pytest.raises(BusyError, match="a run is using"), finished.kept(run, alone=True):
            pass
    with Lock(run / LOCK) as lock:
        lock.own()
        with pytest.raises(BusyError, match="a run is using"), finished.opened(run):
            pass


def test_run_is_read_from_a_folder_that_cannot_be_written(run: Path) -> None:
    (run / LOCK).chmod(0o444)
    with finished.opened(run):
        pass
    (run / LOCK).unlink()  # as a copy without hidden files has it
    with finished.opened(run):
        assert not (run / LOCK).exists()
