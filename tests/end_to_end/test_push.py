"""modelmill push: a run's model below a server's base path, while the server answers; and what is not pushed."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import cli
from pipeline.errors import BusyError, GateError, InputError, MissingError, RunError
from pipeline.files import write_json
from pipeline.lock import Lock
from pipeline.run_folder import LOCK
from serving import warmup
from tests.end_to_end.command import ONLY_TRAIN, modelmill, options
from tests.serving.publishing import s3
from tests.serving.server.asking import Grpc, predict_request
from tests.serving.server.running import READY_S, Running

SERVED, LITE = "train.saved_model.float32", "train.tflite.int8"
SMALL = ["train.epochs=2", "model={architecture: mlp, dense: [16]}", "data.augment=null",
         "export={tflite: [int8], onnx: [float32]}", "measure=null", "judge=null"]  # fmt: skip
SAMPLE = np.zeros((1, 8, 8, 1), np.float32)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was exported and not judged."""
    folder = tmp_path_factory.mktemp("made")
    done = modelmill("run", "digits", *options([*ONLY_TRAIN, *SMALL]), "--until", "export", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture
def cwd(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the run and its store, to be changed."""
    shutil.copytree(made / "runs", tmp_path / "runs", symlinks=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def push(*arguments: str) -> None:
    cli.app(["push", *arguments], standalone_mode=False)


def judged(run: Path, **changes: Any) -> None:
    """Change what a run's report says."""
    path = run / "report.json"
    write_json(path, json.loads(path.read_text("utf-8")) | changes)


def test_pushed_version_is_the_runs_and_comes_with_its_warm_up(cwd: Path, capsys: pytest.CaptureFixture[str]) -> None:
    push("digits", "--to", "models/digits")
    said, told = capsys.readouterr()
    assert said == f"{SERVED} is version 1: models/digits/1\n"
    assert "the run's verdict is incomplete: this version is not known to be good" in told
    exported = cwd / "runs/digits/artifacts" / SERVED / "1"
    for path in exported.rglob("*"):
        if path.is_file():
            assert (cwd / "models/digits/1" / path.relative_to(exported)).read_bytes() == path.read_bytes()
    assert (cwd / "models/digits/1" / warmup.FILE).is_file()


def test_push_answers_with_json_and_takes_the_next_number(cwd: Path, capsys: pytest.CaptureFixture[str]) -> None:
    judged(cwd / "runs/digits", verdict="pass")
    (cwd / "models" / "41").mkdir(parents=True)
    push("runs/digits", "--to", "models", "--json")
    said, told = capsys.readouterr()
    assert json.loads(said) == {
        "event": "pushed", "artifact": SERVED, "verdict": "pass", "version": 42, "path": "models/42", "exit_code": 0,
    }  # fmt: skip
    assert told == ""


def test_run_that_did_not_pass_is_pushed_only_by_force(cwd: Path) -> None:
    gate = {"name": "max_accuracy_drop", "artifact": SERVED, "limit": 0.01, "value": 0.2, "low": 0.1, "high": 0.3,
            "passed": False, "message": "accuracy drop 0.2 of train.saved_model.float32 is above 0.01"}  # fmt: skip
    judged(cwd / "runs/digits", verdict="fail", gates=[gate, gate | {"passed": True, "message": "fine"}])
    done = modelmill("push", "digits", "--to", "models", cwd=cwd)
    assert done.returncode == 1
    assert done.stderr == (
        "error: the run's verdict is fail\n  expected: pass\n"
        "  found: max_accuracy_drop: accuracy drop 0.2 of train.saved_model.float32 is above 0.01\n"
        "  what to do: improve the model, or push it all the same: --force\n"
    )
    assert not (cwd / "models").exists()
    done = modelmill("push", "digits", "--to", "models", "--force", "--quiet", cwd=cwd)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == (
        "warning: pushed by --force: the run's verdict is fail (max_accuracy_drop: accuracy drop 0.2 of "
        "train.saved_model.float32 is above 0.01)\n"
    )
    assert (cwd / "models/1/saved_model.pb").is_file()
    failure = {"stage": "measure", "message": "the server died", "exit_code": 4}
    judged(cwd / "runs/digits", verdict="error", failure=failure)
    with pytest.raises(GateError, match=r"verdict is error(.|\n)*the server died"):
        push("digits", "--to", "models")


def test_push_makes_no_new_version_of_what_the_newest_holds(cwd: Path, capsys: pytest.CaptureFixture[str]) -> None:
    judged(cwd / "runs/digits", verdict="pass")
    arguments = ("digits", "--to", "models")
    push(*arguments)
    push(*arguments)
    assert f"{SERVED} is version 1 already: models/1; nothing was pushed, --force makes a" in capsys.readouterr().out
    push(*arguments, "--json")
    said = json.loads(capsys.readouterr().out)
    assert (said["event"], said["version"], said["exit_code"]) == ("unchanged", 1, 0)
    assert [one.name for one in (cwd / "models").iterdir()] == ["1"]


def test_push_makes_a_new_version_where_the_newest_is_not_the_same(cwd: Path) -> None:
    arguments = ("digits", "--to", "models")
    push(*arguments)
    push(*arguments, "--force")
    assert (cwd / "models/2").is_dir()
    changed = next(path for path in (cwd / "models/2").rglob("*") if path.is_file())
    changed.write_bytes(bytes(changed.stat().st_size))  # of the same size
    push(*arguments)
    assert (cwd / "models/3").is_dir()


def test_tflite_is_pushed_beside_saved_models_only_by_force(cwd: Path, capsys: pytest.CaptureFixture[str]) -> None:
    push("digits", "--to", "models")
    with pytest.raises(GateError, match=r"without --prefer_tflite_model, which models/1 does not need(.|\n)*--force"):
        push(f"digits:{LITE}", "--to", "models")
    assert [one.name for one in (cwd / "models").iterdir()] == ["1"]
    push(f"digits:{LITE}", "--to", "models", "--force")
    assert f"{LITE} is version 2: models/2" in capsys.readouterr().out
    assert (cwd / "models/2/model.tflite").is_file()
    push(f"digits:{LITE}", "--to", "models")  # its warm-up requests are made anew, and are the same
    assert f"{LITE} is version 2 already: models/2" in capsys.readouterr().out
    push("digits", "--to", "models")  # a server that prefers .tflite takes a SavedModel too
    assert (cwd / "models/3/saved_model.pb").is_file()


@pytest.mark.parametrize("name", ["1/saved_model.pb", "1/assets.extra/tf_serving_warmup_requests", "1/more"])
def test_damaged_run_is_not_pushed(name: str, cwd: Path) -> None:
    path = cwd / "runs/digits/artifacts" / SERVED / name
    content = path.read_bytes() if path.exists() else b""
    path.unlink(missing_ok=True)
    path.write_bytes(content + b"x")
    with pytest.raises(InputError, match=rf"{SERVED} is damaged(.|\n)*changed, removed or added: {SERVED}/{name}"):
        push("digits", "--to", "models", "--force")
    path.unlink()
    if content:
        with pytest.raises(InputError, match="is damaged"):
            push("digits", "--to", "models")
    assert not (cwd / "models").exists()


def test_link_in_a_run_takes_nothing_of_the_users_with_it(cwd: Path) -> None:
    (cwd / "ssh").mkdir()
    (cwd / "ssh/id").write_text("secret")
    (cwd / "runs/digits/artifacts" / SERVED / "1/extra").symlink_to(cwd / "ssh")
    with pytest.raises(InputError, match=r"has files that are not the run's own(.|\n)*extra is a link"):
        push("digits", "--to", "models", "--force")
    assert not (cwd / "models").exists()


def test_run_that_is_being_written_is_not_pushed(cwd: Path) -> None:
    with Lock(cwd / "runs/digits" / LOCK) as lock:
        lock.own()
        with pytest.raises(BusyError, match="a run is using runs/digits"):
            push("digits", "--to", "models")


def test_run_is_pushed_from_elsewhere_when_it_was_copied_with_what_its_links_point_to(cwd: Path) -> None:
    elsewhere = cwd / "elsewhere"
    elsewhere.mkdir()
    subprocess.run(["cp", "-r", "runs/digits", "elsewhere/links"], cwd=cwd, check=True)
    with pytest.raises(InputError, match=r"links to \S+, which is not there\n  what to do: (.|\n)*`cp -rL`"):
        push("elsewhere/links", "--to", "models")
    subprocess.run(["cp", "-rL", "runs/digits", "elsewhere/whole"], cwd=cwd, check=True)
    push("elsewhere/whole", "--to", "models")
    assert (cwd / "models/1/saved_model.pb").is_file()
    (elsewhere / "whole/artifacts" / SERVED / "1/saved_model.pb").chmod(0o644)
    (elsewhere / "whole/artifacts" / SERVED / "1/saved_model.pb").write_bytes(b"x")
    with pytest.raises(InputError, match="is damaged"):
        push("elsewhere/whole", "--to", "models")


def test_run_without_its_store_is_not_pushed_because_nobody_can_tell_damage(cwd: Path) -> None:
    shutil.rmtree(cwd / "runs/.store")
    with pytest.raises(InputError, match=r"cannot be checked for damage(.|\n)*stages/export/manifest.json"):
        push("digits", "--to", "models")


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (["digits", "--artifact", "prune.x"], InputError, f"no artifact prune.x(.|\n)*one of: {SERVED}, {LITE}\n"),
        (["digits", "--artifact", "train.onnx.float32"], InputError, "is an .onnx(.|\n)*a SavedModel or a .tflite"),
        (["none"], InputError, "none has no report.json"),
        (["digits", "--to", "ftp://a/b"], InputError, "is no place to push to(.|\n)*s3://BUCKET/PATH(.|\n)*ftp://"),
        (["digits", "--to", "s3://"], InputError, "no bucket"),
        (["digits", "--to", "runs/digits/report.json"], InputError, "a folder, which then holds(.|\n)*found: a file"),
    ],
    ids=["artifact", "onnx", "run", "scheme", "bucket", "file"],
)
def test_push_says_what_is_wrong(arguments: list[str], kind: type[Exception], message: str, cwd: Path) -> None:
    with pytest.raises(kind, match=message):
        push(*(arguments if "--to" in arguments else [*arguments, "--to", str(cwd / "models")]))


def test_missing_package_is_named_with_its_extra(cwd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cwd
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    for scheme, package in (("s3", "s3fs"), ("gs", "gcsfs")):
        with pytest.raises(MissingError, match=rf"{package}(.|\n)*pip install 'modelmill\[{scheme}\]'"):
            push("digits", "--to", f"{scheme}://bucket/models")


def test_run_that_exported_nothing_has_nothing_to_push(cwd: Path) -> None:
    judged(cwd / "runs/digits", artifacts=[], to_serve=None)
    with pytest.raises(InputError, match="no artifact to serve"):
        push("digits", "--to", "models")


def test_folder_that_cannot_be_made_is_one_message(cwd: Path) -> None:
    (cwd / "file").write_text("")
    done = modelmill("push", "digits", "--to", "file/models", cwd=cwd)
    assert (done.returncode, done.stderr.count("\n")) == (4, 4)
    assert "cannot push to file/models" in done.stderr
    assert "what to do: choose another --to, or change its permissions" in done.stderr
    assert "Traceback" not in done.stderr


def test_run_is_pushed_to_a_store_that_speaks_s3(
    cwd: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with s3.serving() as bucket:
        for name, value in (s3.KEYS | {"AWS_ENDPOINT_URL": bucket.address}).items():
            monkeypatch.setenv(name, value)
        for more, event, number in (((), "pushed", 1), ((), "unchanged", 1), (("--force",), "pushed", 2)):
            push("digits", "--to", f"s3://{bucket.name}/models/digits", "--json", *more)
            said = json.loads(capsys.readouterr().out)
            assert (said["event"], said["version"]) == (event, number)
            assert said["path"] == f"s3://{bucket.name}/models/digits/{number}"
        with pytest.raises(GateError, match=f"which s3://{bucket.name}/models/digits/2 does not need"):
            push(f"digits:{LITE}", "--to", f"s3://{bucket.name}/models/digits")
        exported = cwd / "runs/digits/artifacts" / SERVED / "1"
        store = bucket.store()
        for path in (one for one in exported.rglob("*") if one.is_file()):
            name = f"{bucket.name}/models/digits/2/{path.relative_to(exported).as_posix()}"
            assert store.cat_file(name) == path.read_bytes()
        with pytest.raises(RunError, match=r"cannot push to s3://none/m\n  found: (.|\n)*AWS_ENDPOINT_URL"):
            push("digits", "--to", "s3://none/m")


class Client(threading.Thread):
    """Asks a server without a pause until it is stopped, and keeps what it saw."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.port, self.stopped = port, threading.Event()
        self.versions: list[int] = []
        self.failures: list[str] = []

    def run(self) -> None:
        with Grpc(self.port) as client:
            request = predict_request("digits", image=SAMPLE)
            while not self.stopped.is_set():
                try:
                    answer = client.prediction.Predict(request, timeout=60)
                    self.versions.append(int(answer.model_spec.version.value))
                except Exception as error:  # noqa: BLE001 - whatever it is, a request failed
                    self.failures.append(str(error))


@pytest.fixture
def server(cwd: Path) -> Iterator[Running]:
    push("digits", "--to", "models/digits")
    flags = ["--model_name=digits", f"--model_base_path={cwd / 'models/digits'}", "--file_system_poll_wait_seconds=1"]
    running = Running(cwd / "server", [*flags, "--prefer_tflite_model"])
    try:
        running.wait_until_ready()
        yield running
    finally:
        running.process.kill()
        running.process.wait()


def test_server_that_polls_goes_over_to_what_is_pushed_without_a_failed_request(cwd: Path, server: Running) -> None:
    """To a SavedModel, and to the int8 .tflite as model.tflite, both warmed up by their own records."""
    clients = [Client(server.port) for _ in range(2)]
    for client in clients:
        client.start()
    try:
        for number, name in ((2, "digits"), (3, f"digits:{LITE}")):
            push(name, "--to", str(cwd / "models/digits"), "--force")  # the same model again, and another format
            deadline = time.monotonic() + READY_S
            while any(not client.versions or client.versions[-1] < number for client in clients):
                assert time.monotonic() < deadline, server.err
                time.sleep(0.1)
    finally:
        for client in clients:
            client.stopped.set()
            client.join()
    for client in clients:
        assert client.failures == []
        assert client.versions == sorted(client.versions)
        assert set(client.versions) == {1, 2, 3}
    for number in (1, 2, 3):
        file = cwd / "models/digits" / str(number) / warmup.FILE
        assert f"warmup data for model at {file}. Number of warmup records read: 2." in server.err
    assert (cwd / "models/digits/3/model.tflite").is_file()
    assert (cwd / "models/digits/3/assets.extra/labels.txt").is_file()


def test_server_goes_back_to_the_version_below_when_the_newest_is_renamed(cwd: Path, server: Running) -> None:
    """As docs/serving.md says to roll back: without a failed request."""
    base, client = cwd / "models/digits", Client(server.port)
    client.start()

    def wait_for(number: int) -> None:
        deadline = time.monotonic() + READY_S
        while not client.versions or client.versions[-1] != number:
            assert time.monotonic() < deadline, server.err
            time.sleep(0.1)

    try:
        push("digits", "--to", str(base), "--force")
        wait_for(2)
        (base / "2").rename(base / ".2.bad")
        wait_for(1)
    finally:
        client.stopped.set()
        client.join()
    assert client.failures == []
    push("digits", "--to", str(base), "--force")
    assert (base / "2").is_dir()  # the number is given again
