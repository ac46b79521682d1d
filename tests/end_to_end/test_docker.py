"""A whole run with its SavedModel in a container of a real Docker engine, and what is left of it when it is killed."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.command import FAST, ONLY_TRAIN, interrupted, modelmill, options, report, statuses

IMAGE = os.environ.get("MODELMILL_TEST_IMAGE", "")
ENGINE = {"DOCKER_HOST": os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")}
SMALL = ["model={architecture: mlp, dense: [16]}", "data.augment=null", "export={tflite: [int8], onnx: []}",
         "judge={final: train.saved_model.float32, gates: {min_parity: 1.0}}", f"serving.image={IMAGE}"]  # fmt: skip
ARGUMENTS = ["run", "digits", *options([*ONLY_TRAIN, *FAST, *SMALL, "serving.target=docker"])]
LONG = [*ARGUMENTS, "--set", "measure.latency.min_block_ms=2000"]

pytestmark = [
    pytest.mark.skipif(
        not IMAGE, reason="no Docker image to test with: `.ci/run` makes one, or name one by MODELMILL_TEST_IMAGE"
    ),
    pytest.mark.alone,
]


@pytest.fixture(scope="module")
def cwd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("docker")


def containers(cwd: Path) -> list[Any]:
    """Return the containers of a folder's runs, running or not."""
    import docker

    client = docker.DockerClient(base_url=ENGINE["DOCKER_HOST"])
    found = client.containers.list(all=True, filters={"label": "modelmill.owner"})
    return [one for one in found if any(mount["Source"].startswith(str(cwd)) for mount in one.attrs["Mounts"])]


def during_latency(event: dict[str, Any]) -> bool:
    return "latency, served over rest" in event.get("item", "")


def test_run_measures_both_protocols_in_a_container_and_removes_it(cwd: Path) -> None:
    done = modelmill(*ARGUMENTS, cwd=cwd, **ENGINE)
    assert done.returncode == 0, done.stdout + done.stderr
    found = report(cwd)
    assert found["serving"] == {"asked": "docker", "target": "docker", "passed_over": {}}
    artifact, lite = found["artifacts"]
    assert [run["protocol"] for run in artifact["runs"]] == ["grpc", "rest"]
    alone, *behind = lite["runs"]
    assert [run["protocol"] for run in behind] == ["grpc", "rest"]
    for run in (*artifact["runs"], *behind):
        assert run["target"] == "docker"
        assert run["server"]["implementation"] == "modelmill"  # what the test image has inside, named as what it is
        assert run["server"]["image"] == IMAGE
        (check,) = run["checks"]
        assert check["problems"] == []
    assert [run["parity"]["top1_agreement"] for run in artifact["runs"]] == [1.0, 1.0]
    assert [run["parity"] for run in behind] == [alone["parity"]] * 2  # LiteRT's integers, in the container too
    table = found["fastest"]
    assert (table["target"], table["against"], len(table["rows"])) == ("docker", artifact["id"], 4)
    assert "Fastest when served" in done.stdout
    assert "Served by docker: modelmill" in done.stdout
    assert containers(cwd) == []


def test_auto_takes_the_engine_when_it_has_the_image(cwd: Path) -> None:
    done = modelmill(*ARGUMENTS, "--set", "serving.target=auto", cwd=cwd, **ENGINE)
    assert done.returncode == 0, done.stderr
    assert "measure: serving target: docker" in done.stderr
    assert statuses(cwd) == ["reused"] * 3


@pytest.mark.long
def test_container_killed_during_a_measurement_is_told_removed_and_not_stored(cwd: Path) -> None:
    def kill() -> None:
        time.sleep(1)
        (container,) = containers(cwd)
        container.kill()

    code, events, errors = interrupted([*LONG, "--out", "runs/dies"], cwd, when=during_latency, by=kill, **ENGINE)
    assert code == 4
    assert "Traceback" not in errors
    notes = " ".join(event["text"] for event in events if event["event"] == "note" and event["level"] == "warning")
    assert "the server died: " in notes
    assert containers(cwd) == []
    manifest = json.loads((cwd / "runs/dies/stages/measure/manifest.json").read_text(encoding="utf-8"))
    assert manifest["transient"] != []  # so it is not used again


def test_container_of_a_killed_run_is_removed_by_the_next_which_goes_on(cwd: Path) -> None:
    arguments = [*LONG, "--out", "runs/dies"]
    code, _, _ = interrupted(arguments, cwd, when=during_latency, by=signal.SIGKILL, **ENGINE)
    assert code == -signal.SIGKILL
    (left,) = containers(cwd)
    assert left.status == "running"

    done = modelmill(*arguments, cwd=cwd, **ENGINE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert statuses(cwd, "dies") == ["reused", "reused", "run"]
    assert containers(cwd) == []


@pytest.mark.parametrize("by", [pytest.param(signal.SIGINT, marks=pytest.mark.long), signal.SIGTERM])
def test_container_is_removed_when_the_run_is_stopped(cwd: Path, by: signal.Signals) -> None:
    arguments = [*LONG, "--set", "measure.latency.blocks=6", "--out", "runs/stopped"]
    code, _, errors = interrupted(arguments, cwd, when=during_latency, by=by, **ENGINE)
    assert code == 130, errors
    assert containers(cwd) == []
