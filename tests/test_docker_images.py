"""The Dockerfiles, built and run in a real engine, on a base that borrows this machine's Python.

What the base has is what python:3.11 has, and besides the packages that an index would give: builds reach no network.
"""

from __future__ import annotations

import http.client
import io
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.image import context
from serving.config import ServingConfig
from serving.server import monitoring
from tests.serving.server.running import READY_S, free_ports
from tests.serving.target.docker_images import IMAGE, needs_engine

ROOT = Path(__file__).parent.parent
DOCKER = ROOT / "docker"
# offline: the libraries are the base's
PIP = "pip install --no-index --no-deps --no-build-isolation"

pytestmark = [needs_engine, pytest.mark.alone]


def build(client: Any, tag: str, **options: Any) -> Any:
    image, _ = client.images.build(tag=tag, rm=True, forcerm=True, **options)
    return image


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    import docker

    with closing(docker.from_env(timeout=300)) as found:
        yield found


@pytest.fixture(scope="module")
def base(client: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An image with Python and the libraries, users, and a folder for temporary files."""
    folder, tag = tmp_path_factory.mktemp("base"), f"modelmill-test/base:{os.getpid()}"
    (folder / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (folder / "group").write_text("root:x:0:\n")
    path = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
    (folder / "Dockerfile").write_text(
        f"FROM {IMAGE}\nCOPY passwd group /etc/\nENV PATH={path} PYTHONPATH={sysconfig.get_path('purelib')}\n"
        "RUN chmod 1777 /tmp\nWORKDIR /\nENTRYPOINT []\n"
    )
    build(client, tag, path=str(folder))
    yield tag
    client.images.remove(tag, force=True)


@pytest.fixture(scope="module")
def modelmill(client: Any, base: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """pipeline.Dockerfile, built from what its .dockerignore lets through."""
    context, tag = tmp_path_factory.mktemp("context") / "context", f"modelmill-test/modelmill:{os.getpid()}"
    context.mkdir()
    ignore = (DOCKER / "pipeline.Dockerfile.dockerignore").read_text(encoding="utf-8")
    for name in re.findall(r"^!(.*)$", ignore, re.MULTILINE):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, context / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            (context / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(ROOT / name, context / name)
    shutil.copyfile(DOCKER / "pipeline.Dockerfile", context / "Dockerfile")
    build(client, tag, path=str(context), buildargs={"BASE": base, "PIP": PIP})
    yield tag
    client.images.remove(tag, force=True)


@pytest.fixture(scope="module")
def embedded(client: Any, modelmill: str) -> Iterator[str]:
    """embedded.Dockerfile, built without a context."""
    tag = f"modelmill-test/embedded:{os.getpid()}"
    build(client, tag, fileobj=io.BytesIO((DOCKER / "embedded.Dockerfile").read_bytes()), buildargs={"BASE": modelmill})
    yield tag
    client.images.remove(tag, force=True)


def test_image_of_the_command_answers_and_is_no_root(client: Any, modelmill: str) -> None:
    assert client.containers.run(modelmill, ["--version"], remove=True).decode().startswith("modelmill ")
    assert b"digits-mlp" in client.containers.run(modelmill, ["recipes"], remove=True)
    who = ["-c", "import os, pipeline; open('runs/x', 'w'); print(os.getuid(), os.getcwd(), pipeline.__file__)"]
    said = client.containers.run(modelmill, who, entrypoint="python", remove=True).decode().split()
    assert said[:2] == ["1000", "/work"]
    assert said[2].startswith("/opt/modelmill/")  # what was built, not what this machine has


@contextmanager
def started(client: Any, image: str, models: Path) -> Iterator[tuple[Any, int]]:
    """Run an image as compose.yaml's service `serving`; yield the container and the REST API's port."""
    service = yaml.safe_load((DOCKER / "compose.yaml").read_text(encoding="utf-8"))["services"]["serving"]
    (port,) = free_ports(1)
    volumes = [f"{models}:/models:ro"]
    volumes += [f"{DOCKER}/{one[2:]}" for one in service["volumes"] if one.startswith("./")]
    container = client.containers.run(
        image, service["command"], detach=True, environment={"MODEL_NAME": "half"}, volumes=volumes,
        ports={"8501/tcp": ("127.0.0.1", port)}, user=service["user"], read_only=service["read_only"],
        cap_drop=service["cap_drop"], security_opt=service["security_opt"], tmpfs=dict.fromkeys(service["tmpfs"], ""),
    )  # fmt: skip
    try:
        yield container, port
    finally:
        container.remove(force=True)


def ask(port: int, method: str, path: str, body: Any = None) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, None if body is None else json.dumps(body))
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    assert answer.status == 200, text
    return text


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with version 1 of a model that halves and adds two."""
    folder = tmp_path_factory.mktemp("served")
    script = (
        "import sys; from tests.serving.server.saved import save, spec\n"
        "save(sys.argv[1], serving_default=(lambda x: {'y': x / 2 + 2}, [spec('x')]))"
    )
    subprocess.run([sys.executable, "-c", script, str(folder / "half" / "1")], check=True, cwd=ROOT)
    folder.chmod(0o755)
    folder.parent.chmod(0o755)
    return folder


def require_healthy(container: Any) -> None:
    """Wait until the image's own health check says so."""
    deadline = time.monotonic() + 2 * READY_S
    while container.attrs["State"].get("Health", {}).get("Status") != "healthy":
        assert container.status != "exited", container.logs().decode()
        assert time.monotonic() < deadline, (container.attrs["State"], container.logs().decode())
        time.sleep(0.5)
        container.reload()


def test_image_of_the_server_is_healthy_answers_and_is_scraped_as_compose_starts_it(
    client: Any, embedded: str, models: Path
) -> None:
    with started(client, embedded, models) as (container, port):
        require_healthy(container)
        assert json.loads(ask(port, "POST", "/v1/models/half:predict", {"instances": [1.0]})) == {"predictions": [2.5]}
        path = monitoring.path(str(DOCKER / "monitoring.config"))
        assert ':tensorflow:serving:request_count{model_name="half",status="OK"} ' in ask(port, "GET", str(path))

        service = yaml.safe_load((DOCKER / "compose.yaml").read_text(encoding="utf-8"))["services"]["serving"]
        check = [word.replace("$$", "$") for word in service["healthcheck"]["test"][1:]]
        assert container.exec_run(check).exit_code == 0
        absent = [*check[:-1], check[-1].replace("$MODEL_NAME", "absent")]
        assert container.exec_run(absent).exit_code != 0


@pytest.mark.long
def test_image_of_a_run_is_healthy_and_answers_when_it_is_built_on_the_image_of_the_server(
    client: Any, embedded: str, models: Path, tmp_path: Path
) -> None:
    made = context.write(tmp_path / "image", "half", models / "half" / "1", ServingConfig(), None, {"a": "b"})
    tag = f"modelmill-test/baked:{os.getpid()}"
    build(client, tag, path=str(made.folder), buildargs={"BASE": embedded, "NAME": "half"})
    try:
        (port,) = free_ports(1)
        container = client.containers.run(tag, detach=True, ports={"8501/tcp": ("127.0.0.1", port)})
        try:
            require_healthy(container)
            assert container.attrs["Config"]["User"] == "65534:65534"
            answer = ask(port, "POST", "/v1/models/half:predict", {"instances": [1.0]})
            assert json.loads(answer) == {"predictions": [2.5]}
            assert b"modelmill" in container.exec_run(["tensorflow_model_server", "--version"]).output
        finally:
            container.remove(force=True)
    finally:
        client.images.remove(tag, force=True)
