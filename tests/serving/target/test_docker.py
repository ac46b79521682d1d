"""Servers in containers of a real Docker engine: how they are reached, how they end, and that none is left behind."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipeline.errors import MissingError
from pipeline.events import Event, Note
from serving.config import ServingConfig
from serving.layout import Deployment
from serving.target import docker
from serving.target.interface import Death, LaunchError, Server
from serving.target.process import LOG
from tests.serving.target.docker_images import IMAGE, behaving, container, engine, execute, exists, needs_engine, ours
from tests.serving.target.docker_model import available, half_plus_two, predict
from tests.serving.target.docker_proxy import proxy

pytestmark = [needs_engine, pytest.mark.alone]

NOTHING = Deployment("m", {}, 1, 1)


def target(image: str, told: list[Event] | None = None, **keys: Any) -> docker.DockerTarget:
    return docker.find(ServingConfig(target="docker", image=image, **keys), ([] if told is None else told).append)


def until(found: Callable[[], Any], seconds: float = 20) -> Any:
    deadline = time.monotonic() + seconds
    while not (result := found()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)
    return result


@pytest.fixture(scope="module")
def api() -> Iterator[Any]:
    with engine() as client:
        yield client


@pytest.fixture(scope="module")
def waits() -> Iterator[str]:
    with behaving("waits") as image:
        yield image


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="module")
def served(work: Path) -> Iterator[Server]:
    """One server of a model for several tests; starting TensorFlow is what takes long."""
    deployment = half_plus_two(work / "half")
    with target(IMAGE).start(deployment, work) as server:
        yield server


# With a model in it


def test_version_is_available_when_its_files_are_another_users(served: Server) -> None:
    assert available(served) == [3]
    assert served.death() is None


def test_model_answers_over_both_protocols(served: Server) -> None:
    available(served)
    assert predict(served, [0.0, 1.0, 5.0]) == [2.0, 2.5, 4.5]
    answer = httpx.post(f"{served.addresses['rest']}/v1/models/half:predict", json={"instances": [0.0, 1.0, 5.0]})
    assert answer.json() == {"predictions": [2.0, 2.5, 4.5]}


def test_server_is_named_as_what_it_is(served: Server, api: Any) -> None:
    assert served.identity.image == IMAGE
    is_ours = "modelmill" in execute(api, container(api, served), "tensorflow_model_server --version")
    assert served.identity.implementation == ("modelmill" if is_ours else "tensorflow_model_server")
    assert served.identity.version


def test_ports_are_published_on_loopback_only(served: Server, api: Any) -> None:
    published = api.inspect_container(container(api, served))["NetworkSettings"]["Ports"]
    assert {port: [binding["HostIp"] for binding in bindings] for port, bindings in published.items()} == {
        "8500/tcp": ["127.0.0.1"], "8501/tcp": ["127.0.0.1"],
    }  # fmt: skip
    assert served.addresses == {
        "grpc": f"grpc://127.0.0.1:{published['8500/tcp'][0]['HostPort']}",
        "rest": f"http://127.0.0.1:{published['8501/tcp'][0]['HostPort']}",
    }


def test_container_cannot_write_to_the_models(served: Server, api: Any, work: Path) -> None:
    name = container(api, served)
    assert "Read-only file system" in execute(api, name, "echo no > /models/half/3/saved_model.pb")
    assert execute(api, name, "cat /models/models.config") == (work / "models/models.config").read_text()


def test_container_has_no_rights_but_to_read_the_models(served: Server, api: Any) -> None:
    found = api.inspect_container(container(api, served))
    settings = found["HostConfig"]
    assert settings["CapDrop"] == ["ALL"]
    assert [name.removeprefix("CAP_") for name in settings["CapAdd"]] == ["DAC_OVERRIDE"]
    assert "no-new-privileges" in settings["SecurityOpt"]
    assert settings["RestartPolicy"]["Name"] in ("", "no")
    assert not settings["AutoRemove"]
    assert not settings["Privileged"]
    assert [mount["Destination"] for mount in found["Mounts"]] == ["/models"]


def test_decisive_names_the_image_its_id_and_the_device(api: Any) -> None:
    assert target(IMAGE).decisive() == {
        "image": IMAGE, "image_id": api.inspect_image(IMAGE)["Id"], "device": "cpu"
    }  # fmt: skip


def test_death_is_told_in_the_servers_words_when_a_model_cannot_be_loaded(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "saved_model.pb").write_bytes(b"no protocol buffer")
    with target(IMAGE).start(Deployment("half", {1: broken}, 1, 1), tmp_path / "work") as server:
        death: Death = until(server.death, seconds=60)
    assert not death.transient
    assert death.reason == "the container ended with exit status 255"
    assert "half" in death.log
    assert "saved_model.pb" in death.log
    assert (tmp_path / "work" / LOG).read_text().strip().endswith(death.log)


# How it ends


def test_arguments_are_the_deployments_flags_and_the_log_outlives_the_container(
    waits: str, api: Any, tmp_path: Path
) -> None:
    with target(waits).start(NOTHING, tmp_path / "work") as server:
        name = container(api, server)
        said = until(server.log)
    assert said.startswith("serving with --model_config_file=/models/models.config --max_num_load_retries=0")
    assert (tmp_path / "work" / LOG).read_text().strip() == said
    assert not exists(api, name)


def test_death_is_transient_when_the_container_is_killed(waits: str, api: Any, tmp_path: Path) -> None:
    with target(waits).start(NOTHING, tmp_path / "work") as server:
        until(server.log)
        assert server.death() is None
        api.kill(container(api, server))
        death: Death = until(server.death, seconds=5)
    assert death.transient
    assert death.reason.startswith("the container killed by SIGKILL (killed) from outside")
    assert death.log.startswith("serving with")


def test_death_is_transient_when_the_container_is_removed(waits: str, api: Any, tmp_path: Path) -> None:
    with target(waits).start(NOTHING, tmp_path / "work") as server:
        api.remove_container(container(api, server), force=True)
        death: Death = until(server.death, seconds=5)
    assert death == Death("the container was removed from outside", True, "")


def test_death_is_transient_when_the_memory_is_used_up(api: Any, tmp_path: Path) -> None:
    with behaving("hungry") as image, target(image).start(NOTHING, tmp_path / "work") as server:
        api.update_container(container(api, server), mem_limit="20m", memswap_limit="20m")
        execute(api, container(api, server), "touch /tmp/go")
        death: Death = until(server.death)
    assert death.transient
    assert death.reason == "the container was ended by the system, which ran out of memory"


def test_death_is_transient_and_told_when_the_engine_goes(
    waits: str, api: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Event] = []
    with proxy(tmp_path) as way:
        monkeypatch.setenv("DOCKER_HOST", way.address)
        with target(waits, told).start(NOTHING, tmp_path / "work") as server:
            name = container(api, server)
            way.cut()
            death: Death = until(server.death)
    assert death.transient
    assert death.reason.startswith("the Docker engine is gone: ")
    (note,) = (event for event in told if isinstance(event, Note))
    assert note.level == "warning"
    assert "is left, remove it with docker rm --force: " in note.text
    api.remove_container(name, force=True)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("leaves-later", "the container ended with exit status 255"),
        ("crashes", "the container killed by SIGSEGV (segmentation fault), a crash in native code"),
    ],
)
def test_death_is_final_when_the_server_ends_by_itself(tmp_path: Path, name: str, reason: str) -> None:
    with behaving(name) as image, target(image).start(NOTHING, tmp_path / "work") as server:
        death: Death = until(server.death)
    assert (death.reason, death.transient) == (reason, False)


def test_launch_fails_with_the_images_words_when_it_ends_at_once(api: Any, tmp_path: Path) -> None:
    before = ours(api)
    with (
        behaving("leaves") as image,
        pytest.raises(LaunchError) as caught,
        target(image).start(NOTHING, tmp_path / "work"),
    ):
        pass
    assert caught.value.transient  # it says nothing of the model
    assert caught.value.what == f"the image {image} ended at once"
    assert caught.value.found == (
        "the container ended with exit status 255; its last words:\nFailed to start server. Error: UNKNOWN: no"
    )
    assert len(ours(api)) == len(before)


# What it needs


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_port_that_is_taken_is_told_with_what_to_do(waits: str, api: Any, tmp_path: Path, protocol: str) -> None:
    before = ours(api)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    found = target(waits, **{f"{protocol}_port": port})
    with socket.create_server(("127.0.0.1", port)):
        with pytest.raises(MissingError, match=f"port {port} is not free"):
            target(waits, **{f"{protocol}_port": port})
        with pytest.raises(MissingError) as caught, found.start(NOTHING, tmp_path / "work"):
            pass
    assert caught.value.what == f"port {port} is not free"
    assert caught.value.expected == f"a free port for serving.{protocol}_port on 127.0.0.1"
    assert "address already in use" in caught.value.found
    assert f"leave serving.{protocol}_port out" in caught.value.todo
    assert len(ours(api)) == len(before)


def test_ports_are_the_configs_when_it_names_them(waits: str, tmp_path: Path) -> None:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        grpc, rest = one.getsockname()[1], other.getsockname()[1]
    with target(waits, grpc_port=grpc, rest_port=rest).start(NOTHING, tmp_path / "work") as server:
        assert server.addresses == {"grpc": f"grpc://127.0.0.1:{grpc}", "rest": f"http://127.0.0.1:{rest}"}


def test_gpu_that_the_engine_cannot_give_is_told_with_what_to_do(waits: str, api: Any, tmp_path: Path) -> None:
    if "nvidia" in api.info()["Runtimes"]:
        pytest.skip("this Docker engine has a GPU")
    with pytest.raises(MissingError) as caught, target(waits, device="gpu").start(NOTHING, tmp_path / "work"):
        pass
    assert caught.value.what == "the Docker engine has no GPU for containers"
    assert "could not select device driver" in caught.value.found
    assert "--set serving.device=cpu" in caught.value.todo


# That none is left behind

_OWNER = """
import signal, sys, time
from pathlib import Path
from serving.config import ServingConfig
from serving.layout import Deployment
from serving.target import docker

signal.signal(signal.SIGTERM, signal.default_int_handler)  # as the command does
target = docker.find(ServingConfig(image=sys.argv[1]), print)
with target.start(Deployment("m", {}, 1, 1), Path(sys.argv[2])) as server:
    print(server.addresses["grpc"], flush=True)
    time.sleep(600)
"""


@pytest.fixture
def owner(waits: str, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Yield another process that has started a server and says its address."""
    command = [sys.executable, "-c", _OWNER, waits, str(tmp_path / "theirs")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def theirs(api: Any, owner: subprocess.Popen[str]) -> str:
    """Wait for another process's server, and return its container's id."""
    assert owner.stdout is not None
    port = int(owner.stdout.readline().rpartition(":")[2])
    running = api.containers(filters={"label": "modelmill.owner"})
    (found,) = (one["Id"] for one in running if port in [binding.get("PublicPort") for binding in one["Ports"]])
    return str(found)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_container_is_removed_when_its_owner_is_interrupted(
    api: Any, owner: subprocess.Popen[str], number: signal.Signals
) -> None:
    name = theirs(api, owner)
    owner.send_signal(number)
    _, errors = owner.communicate(timeout=20)
    assert "KeyboardInterrupt" in errors
    assert not exists(api, name)


def test_container_is_removed_when_the_block_raises(waits: str, api: Any, tmp_path: Path) -> None:
    name = ""
    with pytest.raises(ZeroDivisionError), target(waits).start(NOTHING, tmp_path / "work") as server:
        name = container(api, server)
        raise ZeroDivisionError
    assert name
    assert not exists(api, name)


def test_container_of_a_killed_process_is_swept_and_that_of_a_live_one_is_not(
    waits: str, api: Any, owner: subprocess.Popen[str], tmp_path: Path
) -> None:
    name = theirs(api, owner)
    with target(waits).start(NOTHING, tmp_path / "first"):
        assert exists(api, name)
    owner.kill()
    owner.wait()
    assert exists(api, name)
    with target(waits).start(NOTHING, tmp_path / "second"):
        assert not exists(api, name)
