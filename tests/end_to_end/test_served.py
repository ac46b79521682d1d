"""SavedModels behind a serving target, as a user meets it: embedded, remote, absent, and dying in the middle."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.end_to_end.command import FAST, ONLY_TRAIN, interrupted, modelmill, options, report, statuses

SAVED_MODEL = "train.saved_model.float32"
SMALL = ["model={architecture: mlp, dense: [16]}", "data.augment=null", "export={tflite: [], onnx: []}",
         "judge={gates: {min_parity: 1.0}}", "measure.latency.percentile=0.99"]  # fmt: skip
ARGUMENTS = ["run", "digits", *options([*ONLY_TRAIN, *FAST, *SMALL])]


@pytest.fixture(scope="module")
def cwd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="module")
def first(cwd: Path) -> Any:
    done = modelmill(*ARGUMENTS, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def servers(cwd: Path) -> list[psutil.Process]:
    """Return the running embedded servers of a folder's runs, not their supervisors."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "serving.server" in words and any(str(cwd) in word for word in words) and "-I" not in words:
            found.append(process)
    return found


def gone(cwd: Path, seconds: float = 15) -> bool:
    deadline = time.monotonic() + seconds
    while servers(cwd) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not servers(cwd)


def test_auto_serves_with_the_embedded_server_and_says_why(first: Any, cwd: Path) -> None:
    found = report(cwd)
    assert found["serving"]["asked"] == "auto"
    assert found["serving"]["target"] == "embedded"
    assert list(found["serving"]["passed_over"]) == ["docker", "binary"]
    assert "there is no program tensorflow_model_server" in found["serving"]["passed_over"]["binary"]
    assert "measure: serving target: embedded (not docker: " in first.stderr
    (artifact,) = found["artifacts"]
    assert [(run["runtime"], run["protocol"]) for run in artifact["runs"]] == [("served", "grpc"), ("served", "rest")]
    for run in artifact["runs"]:
        assert run["target"] == "embedded"
        assert run["server"]["implementation"] == "modelmill"
        assert run["parity"]["samples"] == 359
        assert run["parity"]["top1_agreement"] == 1.0
        assert [latency["scenario"] for latency in run["latency"]] == ["SingleStream", "MultiStream"]
        assert run["latency"][0]["queries"] >= 5 * 662
        (check,) = run["checks"]
        assert check["problems"] == []
        assert check["requests"] >= 10
    assert "Served by embedded: modelmill" in first.stdout
    assert "Not binary: there is no program tensorflow_model_server" in first.stdout
    page = (cwd / "runs/digits/report.html").read_text(encoding="utf-8")
    assert "Served by embedded: modelmill" in page
    assert servers(cwd) == []


@pytest.mark.usefixtures("first")
def test_target_that_is_named_reuses_what_auto_found(cwd: Path) -> None:
    assert modelmill(*ARGUMENTS, "--set", "serving.target=embedded", cwd=cwd).returncode == 0
    found = report(cwd)
    assert statuses(cwd) == ["reused"] * 3
    assert found["serving"] == {"asked": "embedded", "target": "embedded", "passed_over": {}}


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["serving.target=docker"], "Docker"),
        (["serving.target=binary"], "there is no program tensorflow_model_server"),
        (["serving.target=remote", "serving.remote={addresses: [grpc://127.0.0.1:1]}"],
         "there is no server at grpc://127.0.0.1:1"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("first")
def test_target_that_is_named_and_not_there_ends_with_exit_3_and_what_to_do(
    overrides: list[str],
    words: str,
    cwd: Path,
) -> None:
    done = modelmill(*ARGUMENTS, *options(overrides), "--out", "runs/absent", cwd=cwd)
    assert done.returncode == 3, done.stdout + done.stderr
    assert words in done.stderr
    assert "what to do: " in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert report(cwd, "absent")["verdict"] == "error"


@pytest.mark.parametrize(
    "overrides",
    [["serving.target=docker"], ["serving.target=remote", "serving.remote={addresses: [grpc://127.0.0.1:1]}"]],
)
def test_target_that_is_not_there_is_told_before_anything_is_trained(tmp_path: Path, overrides: list[str]) -> None:
    done = modelmill(*ARGUMENTS, *options(overrides), cwd=tmp_path)
    assert done.returncode == 3
    assert "train: runs" not in done.stderr


@pytest.mark.usefixtures("first")
def test_saved_models_run_in_process_when_serving_is_null(cwd: Path) -> None:
    done = modelmill(*ARGUMENTS, "--set", "serving=null", "--out", "runs/null", cwd=cwd)
    assert done.returncode == 0, done.stderr
    found = report(cwd, "null")
    assert found["serving"] is None
    (run,) = found["artifacts"][0]["runs"]
    assert (run["runtime"], run["protocol"], run["target"]) == ("tensorflow", None, "in-process")


def during_latency(event: dict[str, Any]) -> bool:
    return "latency, served over grpc" in event.get("item", "")


@pytest.mark.usefixtures("first")
def test_server_that_dies_during_a_measurement_is_told_and_not_stored_and_the_next_call_goes_on(
    cwd: Path,
) -> None:
    arguments = [*ARGUMENTS, "--set", "measure.latency.min_block_ms=1000", "--out", "runs/dies"]

    def kill() -> None:
        time.sleep(1)
        (server,) = servers(cwd)
        server.kill()

    code, events, errors = interrupted(arguments, cwd, when=during_latency, by=kill)
    assert code == 4
    assert "Traceback" not in errors
    notes = [event["text"] for event in events if event["event"] == "note" and event["level"] == "warning"]
    assert any("the server died: killed by SIGKILL (killed) from outside" in note for note in notes), notes
    (artifact,) = report(cwd, "dies")["artifacts"]
    assert "the server died: killed by SIGKILL" in artifact["error"]
    assert report(cwd, "dies")["verdict"] == "error"
    assert gone(cwd)

    done = modelmill(*arguments, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    assert statuses(cwd, "dies") == ["reused", "reused", "run"]
    assert report(cwd, "dies")["artifacts"][0]["error"] is None


@pytest.mark.usefixtures("first")
@pytest.mark.parametrize(
    "by", [*(pytest.param(one, marks=pytest.mark.long) for one in (signal.SIGINT, signal.SIGTERM)), signal.SIGKILL]
)
def test_no_server_is_left_when_the_run_is_stopped_or_killed(cwd: Path, by: signal.Signals) -> None:
    arguments = [*ARGUMENTS, "--set", "measure.latency.min_block_ms=2000", "--out", "runs/stopped"]
    code, _, _ = interrupted(arguments, cwd, when=during_latency, by=by)
    assert code == (-9 if by is signal.SIGKILL else 130)
    assert gone(cwd)


@pytest.fixture(scope="module")
def running(first: Any, cwd: Path) -> Iterator[tuple[int, int]]:  # noqa: ARG001
    """The ports, gRPC and REST, of a server that somebody runs with this run's model."""
    with socket.socket() as one, socket.socket() as other:
        for held in (one, other):
            held.bind(("127.0.0.1", 0))
        ports = one.getsockname()[1], other.getsockname()[1]
    models = cwd / "runs/digits/artifacts" / SAVED_MODEL
    command = [sys.executable, "-m", "serving.server", f"--port={ports[0]}", f"--rest_api_port={ports[1]}",
               "--model_name=digits", f"--model_base_path={models}"]  # fmt: skip
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        for line in server.stderr:
            if "Exporting HTTP/REST API" in line:
                break
        yield ports
        server.terminate()


def test_remote_server_is_validated_anew_each_time_and_never_put_to_the_test(
    running: tuple[int, int], cwd: Path
) -> None:
    addresses = f"[grpc://127.0.0.1:{running[0]}, http://127.0.0.1:{running[1]}]"
    overrides = ["serving.target=remote", f"serving.remote={{addresses: {addresses}}}", "serving.model_name=digits"]
    for _ in range(2):
        done = modelmill("validate", *ARGUMENTS[1:], *options(overrides), "--out", "runs/remote", cwd=cwd)
        assert done.returncode == 0, done.stdout + done.stderr
        found = report(cwd, "remote")
        assert statuses(cwd, "remote") == ["reused", "reused", "run"]
        assert found["serving"] == {"asked": "remote", "target": "remote", "passed_over": {}}
        here, *there = found["artifacts"][0]["runs"]
        assert here["target"] == "in-process"  # what the remote one is compared with
        assert [run["protocol"] for run in there] == ["grpc", "rest"]
        for run in there:
            assert (run["target"], run["threads"], run["checks"]) == ("remote", None, [])
            assert (run["server"]["implementation"], run["server"]["model_version"]) == ("unknown", "1")
            assert run["parity"]["top1_agreement"] == 1.0
        assert "asked was model digits version 1 at grpc://127.0.0.1:" in done.stdout
    assert json.loads(modelmill("show", "runs/remote", "--json", cwd=cwd).stdout) == found


@pytest.mark.usefixtures("first")
def test_remote_server_with_another_model_misses_the_limits(tmp_path: Path, running: tuple[int, int]) -> None:
    overrides = ["serving.target=remote", f"serving.remote={{addresses: [grpc://127.0.0.1:{running[0]}]}}",
                 "serving.model_name=digits", "seed=1",
                 "judge={gates: {min_parity: 1.0, max_accuracy_drop: 0.0}}"]  # fmt: skip
    done = modelmill("validate", *ARGUMENTS[1:], *options(overrides), cwd=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    here, there = report(tmp_path)["artifacts"][0]["runs"]
    assert here["parity"]["top1_agreement"] == 1.0
    assert there["parity"]["top1_agreement"] < 1.0
    assert there["metrics"]["accuracy_drop"]["value"] != 0


@pytest.mark.usefixtures("first")
def test_log_of_a_run_holds_the_servers_words_and_no_traceback(cwd: Path) -> None:
    log = (cwd / "runs/digits/log.txt").read_text(encoding="utf-8", errors="replace")
    assert "Running gRPC ModelServer at" in log
    assert "Traceback" not in log
