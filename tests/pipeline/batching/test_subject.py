"""What is served in a search."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.batching import subject
from pipeline.errors import InputError
from tests.pipeline.finished_run import write


def saved_model(folder: Path) -> Path:
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"")
    return folder


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished run with two SavedModels and a .tflite."""
    monkeypatch.chdir(tmp_path)
    return write(Path("runs/mine"))


def test_run_is_served_by_its_last_float_saved_model_with_its_own_data(run: Path) -> None:
    for text in ("mine", str(run), "runs/mine:distill.saved_model.float32"):
        found = subject.find(text, [], trusted=False)
        assert found.folder == run / "artifacts/distill.saved_model.float32/1"
        assert found.data is not None
        assert found.data.source == "digits"
        assert found.store == Path("runs/.store").resolve()
        assert found.serving.batching is None  # what is searched for


def test_ports_of_the_run_are_not_taken_when_each_candidate_has_a_server(run: Path) -> None:
    given = ["serving.grpc_port=8500", "serving.rest_port=8501", "serving.request_deadline_s=7"]
    found = subject.find(str(run), given, trusted=False).serving
    assert (found.grpc_port, found.rest_port) == (None, None)
    assert found.request_deadline_s == 7  # all else is kept


def test_artifact_behind_a_colon_is_taken_instead(run: Path) -> None:
    found = subject.find("mine:train.saved_model.float32", ["serving.target=embedded"], trusted=False)
    assert found.name == f"{run}:train.saved_model.float32"
    assert found.serving.target == "embedded"


@pytest.mark.parametrize(
    ("name", "what"),
    [("train.tflite.int8", "train.tflite.int8 is a .tflite"), ("nothing", "runs/mine has no artifact nothing")],
)
def test_artifact_that_is_no_saved_model_is_refused_with_those_that_are(name: str, what: str, run: Path) -> None:
    with pytest.raises(InputError, match=what) as raised:
        subject.find(f"{run}:{name}", [], trusted=False)
    assert "train.saved_model.float32, distill.saved_model.float32" in str(raised.value)


def test_run_with_a_link_in_its_model_is_not_served(run: Path, tmp_path: Path) -> None:
    (run / "artifacts/distill.saved_model.float32/1/extra").symlink_to(tmp_path)
    with pytest.raises(InputError, match="not the run's own"):
        subject.find("mine", [], trusted=False)


def test_folder_is_a_saved_model_or_has_its_newest_version(tmp_path: Path) -> None:
    base = tmp_path / "model"
    for version in ("2", "10", "latest"):
        saved_model(base / version)
    for path, folder in ((base, base / "10"), (base / "2", base / "2")):
        found = subject.find(str(path), [], trusted=False)
        assert found.folder == folder
        assert found.data is None


def test_what_is_neither_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is neither a SavedModel folder nor a finished run: .* has no report.json"):
        subject.find(str(tmp_path), [], trusted=False)


def test_key_of_another_section_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--set train.epochs=5 changes nothing here"):
        subject.find(str(saved_model(tmp_path / "m")), ["train.epochs=5"], trusted=False)


def test_server_of_somebody_else_is_refused(tmp_path: Path) -> None:
    remote = ["serving.target=remote", "serving.remote={addresses: ['grpc://localhost:8500']}"]
    with pytest.raises(InputError, match="tried on servers that are started for it"):
        subject.find(str(saved_model(tmp_path / "m")), remote, trusted=False)
