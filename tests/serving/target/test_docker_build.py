"""What builds leave in an engine, and the names that images get."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from serving.target import docker_build, docker_owner
from tests.serving.target.docker_images import IMAGE, engine, needs_engine

pytestmark = [needs_engine, pytest.mark.alone]
DAY_S = 24 * 3600


@pytest.fixture(scope="module")
def api() -> Iterator[Any]:
    with engine() as client:
        yield client


@pytest.fixture
def foreign(api: Any) -> Iterator[str]:
    """The name of an image that another machine is judging."""
    mark = docker_owner.mark().split("_")
    name = f"{docker_build.TEMPORARY}:{'_'.join(['another-boot', *mark[1:]])}"
    label = f"LABEL {docker_build.BUILD_LABEL}={name.rpartition(':')[2]} {docker_build.LAST_LABEL}=x"
    assert "Successfully built" in str(list(api.build(fileobj=io.BytesIO(f"FROM {IMAGE}\n{label}".encode()), tag=name)))
    yield name
    if docker_build.named(api, name):
        api.remove_image(name, force=True)


def test_image_of_another_machine_stays_until_it_is_too_old_to_be_judged_and_nothing_runs_it(
    api: Any, foreign: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker_build.sweep(api)
    assert docker_build.named(api, foreign)
    later = time.time() + 2 * DAY_S
    monkeypatch.setattr(docker_build.time, "time", lambda: later)
    container = str(api.create_container(foreign, entrypoint=["/bin/sh", "-c", "sleep 600"])["Id"])
    try:
        api.start(container)
        docker_build.sweep(api)
        assert docker_build.named(api, foreign)
    finally:
        api.remove_container(container, force=True)
    docker_build.sweep(api)
    assert docker_build.named(api, foreign) is None


def test_step_of_another_machines_build_stays_while_it_runs(api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = "_".join(["another-boot", *docker_owner.mark().split("_")[1:]])
    labels = {docker_build.BUILD_LABEL: mark}
    step = str(api.create_container(IMAGE, labels=labels, entrypoint=["/bin/sh", "-c", "sleep 600"])["Id"])
    there = {"all": True, "filters": {"id": step}}
    try:
        docker_build.sweep(api)
        assert api.containers(**there)  # between its start and its end
        later = time.time() + 2 * DAY_S
        monkeypatch.setattr(docker_build.time, "time", lambda: later)
        api.start(step)
        docker_build.sweep(api)
        assert api.containers(**there)
        api.kill(step)
        api.wait(step)
        docker_build.sweep(api)
        assert not api.containers(**there)
    finally:
        with suppress(Exception):
            api.remove_container(step, force=True)


def test_name_is_what_it_was_when_what_follows_fails(api: Any, foreign: str) -> None:
    name = f"modelmill-test/tagged:{docker_owner.mark()}"
    mine, other = str(api.inspect_image(foreign)["Id"]), str(api.inspect_image(IMAGE)["Id"])
    try:
        with pytest.raises(KeyboardInterrupt), docker_build.tagged(api, mine, name):
            assert docker_build.named(api, name) == mine
            raise KeyboardInterrupt
        assert docker_build.named(api, name) is None
        with docker_build.tagged(api, other, name):
            pass
        with pytest.raises(OSError, match="full"), docker_build.tagged(api, mine, name):
            raise OSError("full")
        assert docker_build.named(api, name) == other
    finally:
        with suppress(Exception):
            api.remove_image(name)
