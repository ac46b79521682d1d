"""How an engine and an image are found, and what is said where they are not."""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import InputError, MissingError
from pipeline.events import Event, Note, Progress
from serving.config import ServingConfig
from serving.target import docker
from tests.serving.target import docker_registry
from tests.serving.target.docker_images import IMAGE, engine, needs_engine


def find(told: list[Event] | None = None, **keys: Any) -> docker.DockerTarget:
    return docker.find(ServingConfig(target="docker", **keys), ([] if told is None else told).append)


@contextmanager
def silent(family: socket.AddressFamily, address: Any) -> Iterator[Any]:
    """Listen and never answer; yield the address."""
    with socket.socket(family) as listener:
        listener.bind(address)
        listener.listen()
        yield listener.getsockname()


# The engine


def test_importing_the_target_loads_no_docker() -> None:
    script = "import sys, serving.target.docker; sys.exit(str({'docker', 'requests', 'psutil'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stderr == "set()\n"


def test_engine_that_is_absent_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    with pytest.raises(MissingError) as caught:
        find()
    assert caught.value.exit_code == 3
    assert caught.value.what == "there is no Docker engine"
    assert caught.value.expected == f"an engine at unix://{tmp_path}/docker.sock"
    assert caught.value.found == f"nothing that listens at unix://{tmp_path}/docker.sock"
    assert "start Docker, or name another engine" in str(caught.value.todo)
    assert "DOCKER_HOST=unix://" in str(caught.value.todo)


def test_engine_that_is_forbidden_is_told_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "docker.sock"
    script = (
        "import os, sys; from serving.config import ServingConfig; from serving.target import docker\n"
        "from pipeline.errors import MissingError\n"
        "for address in ('unix:///nowhere', sys.argv[1]):\n"
        "    os.environ['DOCKER_HOST'] = address\n"
        "    try: docker.find(ServingConfig(), print)\n"
        "    except MissingError as error: found = error\n"
        # what was imported by now need not be readable any more
        "    if os.geteuid() == 0: os.setuid(65534)\n"
        "print(found)\n"
    )
    with silent(socket.AF_UNIX, str(path)):
        path.chmod(0)
        done = subprocess.run(
            [sys.executable, "-c", script, f"unix://{path}"], capture_output=True, text=True, check=False
        )
    assert done.stdout == (
        "the Docker engine is forbidden to this user\n"
        f"  expected: permission to use unix://{path}\n"
        "  found: permission denied\n"
        "  what to do: let an administrator run `usermod -aG docker USER`, then log in again\n"
    ), done.stderr


def test_engine_that_never_answers_is_given_up_at_the_deadline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with silent(socket.AF_UNIX, str(tmp_path / "docker.sock")) as path:
        monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
        started = time.monotonic()
        with pytest.raises(MissingError) as caught:
            find(lookup_deadline_s=0.5)
    assert time.monotonic() - started < 2
    assert caught.value.what == "the Docker engine does not answer"
    assert caught.value.found == "no answer within 0.5 s"


@pytest.mark.parametrize("address", ["tcp://203.0.113.1:2375", "ssh://user@host.invalid", "https://host.invalid:2376"])
def test_engine_on_another_machine_is_refused_without_being_asked(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("DOCKER_HOST", address)
    started = time.monotonic()
    with pytest.raises(MissingError) as caught:
        find()
    assert time.monotonic() - started < 2
    assert caught.value.what == "the Docker engine is on another machine"
    assert caught.value.found == f"DOCKER_HOST is {address}"
    assert "serving.target: remote" in caught.value.todo


def test_engine_of_the_current_context_is_used_when_docker_host_is_not_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.delenv("DOCKER_CONTEXT", raising=False)
    (tmp_path / "config.json").write_text(json.dumps({"currentContext": "far"}))
    with pytest.raises(MissingError) as caught:
        find()
    assert caught.value.what == "the current Docker context names no engine"

    meta = tmp_path / "contexts/meta" / hashlib.sha256(b"far").hexdigest()  # where the docker command keeps it
    meta.mkdir(parents=True)
    endpoint = {"Host": "ssh://user@host.invalid", "SkipTLSVerify": False}
    (meta / "meta.json").write_text(json.dumps({"Name": "far", "Metadata": {}, "Endpoints": {"docker": endpoint}}))
    with pytest.raises(MissingError) as caught:
        find()
    assert caught.value.found == "the Docker context far is ssh://user@host.invalid"


# The image


@needs_engine
def test_image_is_absent_when_its_registry_does_not_exist() -> None:
    started = time.monotonic()
    with pytest.raises(MissingError) as caught:
        find(image="registry.invalid/serving:1", lookup_deadline_s=5)
    assert time.monotonic() - started < 7
    assert caught.value.exit_code == 3
    assert caught.value.what == "the image registry.invalid/serving:1 is not in the Docker engine"
    assert caught.value.found.startswith("no registry that has it: ")
    assert caught.value.todo == "docker pull registry.invalid/serving:1, or name another image"


@needs_engine
def test_image_is_absent_at_the_deadline_when_its_registry_never_answers() -> None:
    with silent(socket.AF_INET, ("127.0.0.1", 0)) as (_, port):
        started = time.monotonic()
        with pytest.raises(MissingError) as caught:
            find(image=f"127.0.0.1:{port}/serving:1", lookup_deadline_s=1)
    assert time.monotonic() - started < 3
    assert caught.value.found == "no registry that has it: no answer within 1 s"


@needs_engine
def test_name_that_no_image_can_have_is_the_recipes_mistake() -> None:
    with pytest.raises(InputError) as caught:
        find(image="TensorFlow Serving")
    assert caught.value.what == "TensorFlow Serving is not the name of an image"
    assert "must be lowercase" in caught.value.found


@pytest.fixture
def architecture() -> str:
    with engine() as api:
        return str(api.version()["Arch"])


@needs_engine
def test_absent_image_is_pulled_and_the_progress_told(architecture: str) -> None:
    told: list[Event] = []
    with docker_registry.serve(architecture, pause_s=0.1) as registry:
        found = find(told, image=registry.image).decisive()
    with engine() as api:
        try:
            assert found == {"image": registry.image, "image_id": api.inspect_image(registry.image)["Id"],
                             "device": "cpu"}  # fmt: skip
        finally:
            api.remove_image(registry.image)
    note, *steps = told
    assert note == Note("measure", f"the Docker engine has no image {registry.image}: it is pulled")
    assert len(steps) > 2
    done = [step.done for step in steps if isinstance(step, Progress)]
    assert done == sorted(done)
    assert steps[-1] == Progress("measure", "MB pulled", 5, 5, item=registry.image)


@needs_engine
def test_pull_is_given_up_at_the_deadline_by_the_engine_too(architecture: str) -> None:
    with docker_registry.serve(architecture, pause_s=1) as registry:
        started = time.monotonic()
        with pytest.raises(MissingError) as caught:
            find(image=registry.image, pull_deadline_s=3)
        assert time.monotonic() - started < 6
        assert registry.given_up.wait(5)
    assert caught.value.what == f"the image {registry.image} is not in the Docker engine"
    assert caught.value.found == "a pull that failed: no end within serving.pull_deadline_s = 3 s"


@needs_engine
def test_image_that_is_in_the_engine_is_asked_of_no_registry() -> None:
    told: list[Event] = []
    find(told, image=IMAGE)
    assert told == []
