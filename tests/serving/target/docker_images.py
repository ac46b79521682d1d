"""Images that stand where a model server's stands: made from the test image, they end in different ways."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from serving.layout import Deployment
from serving.target import docker_engine, docker_owner
from serving.target.interface import Server

IMAGE = os.environ.get("MODELMILL_TEST_IMAGE", "")

needs_engine = pytest.mark.skipif(
    not IMAGE,
    reason="no Docker image to test with: `.ci/run` as root on Debian makes one, or name one with TF Serving's "
    "conventions by MODELMILL_TEST_IMAGE where an engine runs",
)

_COMMANDS = {
    "waits": 'echo serving with "$@"; exec sleep 600',
    "leaves": "echo 'Failed to start server. Error: UNKNOWN: no'; exit 255",
    "leaves-later": "sleep 2; echo 'Failed to start server. Error: UNKNOWN: no'; exit 255",
    "crashes": 'sleep 1; sh -c "kill -SEGV \\$\\$"; exit $?',
    "hungry": "while [ ! -e /tmp/go ]; do sleep 0.1; done; exec tail /dev/zero",
}


@contextmanager
def engine() -> Iterator[Any]:
    """Yield a client of the engine that the target finds."""
    with closing(docker_engine.connect(30)) as api:
        yield api


@contextmanager
def behaving(name: str) -> Iterator[str]:
    """Yield an image whose server behaves as its name says; it answers --version as the test image does."""
    tag = f"modelmill-test/{name}:{os.getpid()}"
    entrypoint = json.dumps(["/bin/sh", "-c", _COMMANDS[name], name])
    with engine() as api:
        messages = list(api.build(fileobj=io.BytesIO(f"FROM {IMAGE}\nENTRYPOINT {entrypoint}\n".encode()), tag=tag,
                                  rm=True, decode=True))  # fmt: skip
        assert "Successfully built" in str(messages), messages
        try:
            yield tag
        finally:
            api.remove_image(tag, force=True)


@contextmanager
def baked(deployment: Deployment) -> Iterator[str]:
    """Yield an image with the model of a deployment in it, as those who ship one make it."""
    ((version, source),) = deployment.versions.items()
    lines = f"FROM {IMAGE}\nCOPY {version} /models/{deployment.name}/{version}\nENV MODEL_NAME={deployment.name}\n"
    described, context = tarfile.TarInfo("Dockerfile"), io.BytesIO()
    described.size = len(lines)
    with tarfile.open(fileobj=context, mode="w") as archive:
        archive.addfile(described, io.BytesIO(lines.encode()))
        archive.add(source, str(version))
    tag = f"modelmill-test/baked:{os.getpid()}"
    with engine() as api:
        packed = io.BytesIO(context.getvalue())
        messages = list(api.build(fileobj=packed, custom_context=True, tag=tag, rm=True, decode=True))
        assert "Successfully built" in str(messages), messages
        try:
            yield tag
        finally:
            api.remove_image(tag, force=True)


def container(api: Any, server: Server) -> str:
    """Return the id of a server's container: the one that publishes its port."""
    port = int(server.addresses["grpc"].rpartition(":")[2])
    (found,) = (one["Id"] for one in ours(api) if port in [published.get("PublicPort") for published in one["Ports"]])
    return str(found)


def ours(api: Any) -> list[dict[str, Any]]:
    """Return the containers that this process owns, running or not."""
    (label,) = (f"{key}={value}" for key, value in docker_owner.label().items())
    found: list[dict[str, Any]] = api.containers(all=True, filters={"label": label})
    return found


def exists(api: Any, name: str) -> bool:
    """Return whether there is a container of that name or id, running or not."""
    return bool(api.containers(all=True, filters={"name": name}) or api.containers(all=True, filters={"id": name}))


def execute(api: Any, name: str, command: str) -> str:
    """Run a shell command in a container and return what it wrote."""
    made = api.exec_create(name, ["/bin/sh", "-c", command])
    return str(api.exec_start(made["Id"]).decode())
