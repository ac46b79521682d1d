"""`modelmill image`: a run's model as an image of a real Docker engine, measured as built, tagged if it passes."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.image import document
from pipeline.image.document import Image
from pipeline.stages import report
from serving.target.docker_build import TEMPORARY
from tests.end_to_end.command import FAST, NO_ENGINE, ONLY_TRAIN, interrupted, modelmill, options

pytestmark = pytest.mark.alone

IMAGE = os.environ.get("MODELMILL_TEST_IMAGE", "")
ENGINE = {"DOCKER_HOST": os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")}
SERVED = "train.saved_model.float32"
SMALL = ["model={architecture: mlp, dense: [16]}", "data.augment=null", "export={tflite: [int8], onnx: []}",
         "serving.ready_deadline_s=600"]  # fmt: skip
JUDGED = "judge={gates: {min_parity: 0.9}, artifacts: {train.saved_model.float32: {min_parity: 1.0, %s}}}"
TAG = f"modelmill-test/digits:{os.getpid()}"
ASKED = ["image", "runs/digits", "--base", IMAGE, "--tag", TAG]

needs_engine = pytest.mark.skipif(
    not IMAGE, reason="no Docker image to test with: `.ci/run` makes one, or name one by MODELMILL_TEST_IMAGE"
)


def made(cwd: Path, limit: str, *changes: str) -> None:
    """Make the run, or its report with another limit."""
    arguments = options([*ONLY_TRAIN, *FAST, *SMALL, JUDGED % limit, *changes])
    done = modelmill("run", "digits", *arguments, "--until", "export", "--quiet", cwd=cwd)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def cwd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("image")
    made(folder, "max_accuracy_drop: 0.1")
    return folder


@pytest.fixture
def engine() -> Iterator[Any]:
    import docker

    client = docker.DockerClient(base_url=ENGINE["DOCKER_HOST"])
    try:
        yield client
    finally:
        if TAG in [tag for image in client.images.list() for tag in image.tags]:
            client.images.remove(TAG, force=True)
        client.close()


def left(engine: Any) -> list[str]:
    """Return the images that were not judged, and the containers of what was built here."""
    unjudged = [tag for image in engine.images.list(TEMPORARY) for tag in image.tags]
    containers = engine.containers.list(all=True, filters={"label": f"modelmill.artifact={SERVED}"})
    return [*unjudged, *(one.name for one in containers)]


def facts(cwd: Path) -> Image:
    return document.read(cwd / "runs/digits")


def measuring(event: dict[str, Any]) -> bool:
    return "answers of train's Keras model" in event.get("item", "")


@needs_engine
def test_image_is_built_started_warm_measured_and_tagged(cwd: Path, engine: Any) -> None:
    done = modelmill(*ASKED, "--name", "Digits", cwd=cwd, **ENGINE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"tagged {TAG}" in done.stdout
    found = facts(cwd)
    assert f"start:  {found.command}" in done.stdout
    assert (found.verdict, found.tag, found.name) == ("pass", TAG, "Digits")
    built = engine.images.get(TAG)
    assert built.id == found.id
    assert found.added > 10_000  # the model and little else
    assert left(engine) == []

    assert [run.protocol for run in found.artifact.runs] == ["grpc", "rest"]
    for run in found.artifact.runs:
        assert (run.target, run.parity.samples, run.parity.top1_agreement) == ("docker", 359, 1.0)
        assert run.server is not None
        assert run.server["image"] == built.id
        assert [latency.scenario for latency in run.latency] == ["SingleStream", "MultiStream"]
        (check,) = run.checks
        assert check.problems == []
    assert [one.protocol for one in found.first_requests] == ["grpc", "rest"]
    shown = report.read(cwd / "runs/digits").image
    assert shown == document.shipped(found)
    assert shown.tag == TAG
    assert f"<code>{TAG}</code>" in (cwd / "runs/digits/report.html").read_text(encoding="utf-8")
    gates = {gate.name: gate for gate in found.gates}
    assert set(gates) == {"max_accuracy_drop", "min_parity", "starts_warm"}
    assert gates["starts_warm"].value == max(one.ratio for one in found.first_requests)

    config = built.attrs["Config"]
    assert config["User"] == "65534:65534"
    assert config["Labels"]["modelmill.artifact"] == SERVED
    assert config["Labels"]["org.opencontainers.image.title"] == "Digits"
    assert config["Healthcheck"]["Test"][:2] == ["CMD", "/bin/bash"]
    assert "modelmill.owner" not in config["Labels"]  # else the containers that users start of it would be swept


@needs_engine
def test_nothing_is_sent_to_the_engine_but_what_is_served(cwd: Path) -> None:
    context = cwd / "runs/digits/image"
    there = {path.relative_to(context).as_posix() for path in context.rglob("*") if path.is_file()}
    version = {f"models/Digits/1/{name}" for name in (
        "saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001",
        "assets.extra/labels.txt", "assets.extra/tf_serving_warmup_requests")}  # fmt: skip
    assert there - {"models/Digits/1/fingerprint.pb"} == version | {
        "Dockerfile", "models/models.config", "models/monitoring.config", "models/flags"
    }  # fmt: skip
    assert "prometheus_config { enable: true" in (context / "models/monitoring.config").read_text()


@needs_engine
def test_image_that_misses_a_limit_is_not_tagged_and_neither_it_nor_what_a_killed_call_left_stays(
    cwd: Path, engine: Any
) -> None:
    made(cwd, "max_accuracy_drop: -0.5")
    shown = report.read(cwd / "runs/digits").image
    assert shown is not None  # another report of the same files: the image of the test before is theirs
    assert shown.tag == TAG
    code, _, _ = interrupted(ASKED, cwd, when=measuring, by=signal.SIGKILL, **ENGINE)
    assert code == -signal.SIGKILL
    assert len(left(engine)) == 2  # an image and its container

    done = modelmill(*ASKED, cwd=cwd, **ENGINE)
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"not tagged {TAG}: it failed max_accuracy_drop" in done.stdout
    assert "the whole interval misses it" in done.stdout
    assert "docker run" not in done.stdout
    found = facts(cwd)
    assert (found.verdict, found.tag, found.wanted) == ("fail", None, TAG)
    assert report.read(cwd / "runs/digits").image == document.shipped(found)
    assert left(engine) == []
    assert TAG not in [tag for image in engine.images.list() for tag in image.tags]


@needs_engine
@pytest.mark.parametrize("by", [pytest.param(signal.SIGINT, marks=pytest.mark.long), signal.SIGTERM])
def test_neither_container_nor_image_is_left_when_it_is_stopped(cwd: Path, engine: Any, by: signal.Signals) -> None:
    code, _, errors = interrupted(ASKED, cwd, when=measuring, by=by, **ENGINE)
    assert code == 130, errors
    assert "Traceback" not in errors
    assert left(engine) == []


@needs_engine
@pytest.mark.long
def test_int8_file_is_served_as_it_is_when_it_is_chosen(cwd: Path, engine: Any) -> None:
    done = modelmill(*ASKED, "--artifact", "train.tflite.int8", "--json", cwd=cwd, **ENGINE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["tag"] == TAG
    found = facts(cwd)
    assert "--prefer_tflite_model=true" in found.flags
    assert "digits/1/model.tflite" in found.files
    assert engine.images.get(TAG).labels["modelmill.artifact"] == "train.tflite.int8"


@needs_engine
def test_base_that_is_not_there_ends_with_exit_3_and_what_to_do(cwd: Path) -> None:
    done = modelmill("image", "digits", "--base", "modelmill-test/absent:1", cwd=cwd, **ENGINE)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "the image modelmill-test/absent:1 is not in the Docker engine" in done.stderr
    assert "docker pull modelmill-test/absent:1, or name another image" in done.stderr


def test_no_engine_ends_with_exit_3_and_names_no_other_target(cwd: Path) -> None:
    done = modelmill("image", "digits", cwd=cwd, **NO_ENGINE)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "there is no Docker engine" in done.stderr
    assert "start Docker" in done.stderr
    assert "DOCKER_HOST=unix://" in done.stderr
    assert "the recipe has no limits" not in done.stderr  # nothing else is worth telling
    assert "embedded" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--tag", "Digits:1"], "--tag 'Digits:1' is no name of an image"),
        (["--tag", "digits:"], "--tag 'digits:' is no name of an image"),
        (["--name", "a b"], "--name 'a b' is no name for a served model"),
        (["--name", "models.config"], "a model cannot be served as models.config"),
        (["--artifact", "train.saved_model.float16"], "has no artifact train.saved_model.float16"),
        (["--batching", "absent.txt"], "--batching absent.txt cannot be used"),
    ],
)
def test_wrong_argument_ends_with_exit_2_and_says_what_was_expected(
    arguments: list[str], words: str, cwd: Path
) -> None:
    done = modelmill("image", "digits", *arguments, cwd=cwd)
    assert done.returncode == 2, done.stdout + done.stderr
    assert words in done.stderr
    assert "expected: " in done.stderr


def test_run_without_a_saved_model_ends_with_exit_2(cwd: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(cwd / "runs/digits", other, symlinks=True)
    known = json.loads((other / "report.json").read_text(encoding="utf-8"))
    (other / "report.json").write_text(json.dumps(known | {"artifacts": [], "to_serve": None}), encoding="utf-8")
    done = modelmill("image", str(other), cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "has no artifact to serve" in done.stderr
    assert "expected: a SavedModel or a .tflite" in done.stderr
