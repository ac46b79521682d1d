"""Which containers a sweep removes: those whose owner is gone for sure, and no others."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from serving.target import docker_owner
from tests.serving.target.docker_images import IMAGE, engine, exists, needs_engine

pytestmark = [needs_engine, pytest.mark.alone]


@pytest.fixture(scope="module")
def api() -> Iterator[Any]:
    with engine() as client:
        yield client


def gone() -> int:
    """Return the id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def is_left(api: Any, labels: dict[str, str], *, running: bool = False) -> bool:
    """Return whether a container with these labels is still there after a sweep."""
    name = str(api.create_container(IMAGE, labels=labels, entrypoint=["/bin/sh", "-c", "sleep 600"])["Id"])
    try:
        if running:
            api.start(name)
        docker_owner.sweep(api)
        return exists(api, name)
    finally:
        if exists(api, name):
            api.remove_container(name, force=True)


def changed(**keys: Any) -> dict[str, str]:
    """Return this process's label with other values in it."""
    (label,) = docker_owner.label().values()
    return {docker_owner.LABEL: json.dumps(json.loads(label) | keys)}


def test_container_of_this_process_stays(api: Any) -> None:
    assert is_left(api, docker_owner.label())


def test_container_of_an_ended_process_goes(api: Any) -> None:
    assert not is_left(api, changed(pid=gone()), running=True)


def test_container_goes_when_its_owners_number_was_given_to_another_process(api: Any) -> None:
    assert not is_left(api, changed(started=1))


def test_container_of_a_process_that_nobody_has_waited_for_goes(api: Any) -> None:
    with subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.read()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert not is_left(api, changed(pid=process.pid))


def test_container_from_before_a_restart_of_the_machine_goes(api: Any) -> None:
    assert not is_left(api, changed(boot="another", pid=gone()))


def test_container_of_another_machine_stays_while_it_runs(api: Any) -> None:
    assert is_left(api, changed(boot="another", pid=gone()), running=True)


def test_container_stays_when_its_owner_cannot_be_seen_from_here(api: Any) -> None:
    assert is_left(api, changed(pidns=1, pid=gone()))


@pytest.mark.parametrize(
    "labels", [{}, {"owner": "me"}, {docker_owner.LABEL: "me"}, {docker_owner.LABEL: "[]"}], ids=str
)
def test_container_of_others_stays(api: Any, labels: dict[str, str]) -> None:
    assert is_left(api, labels)


def test_mark_of_a_running_process_is_not_stale_and_fits_into_a_tag() -> None:
    mark = docker_owner.mark()
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", mark)
    assert mark != docker_owner.mark()
    assert not docker_owner.is_stale(mark, 1e9)


def test_mark_of_a_process_that_has_ended_is_stale_and_no_mark_is_not() -> None:
    script = "from serving.target import docker_owner; print(docker_owner.mark())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert docker_owner.is_stale(done.stdout.strip(), 0)
    assert not docker_owner.is_stale("latest", 1e9)
    assert not docker_owner.is_stale("", 1e9)
