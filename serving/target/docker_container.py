"""A container that serves: started with its ports on loopback, watched, and removed whatever happens in between."""

from __future__ import annotations

import contextlib
import re
import secrets
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.errors import MissingError
from pipeline.events import Emit, Note
from serving.config import ServingConfig
from serving.layout import PORTS, ROOT
from serving.target import docker_engine, docker_owner, ports
from serving.target.interface import LOG, Death, Identity, LaunchError, ended, identify
from serving.target.ports import LOOPBACK

_LINES = 20
_ANSWER_S = 30.0  # for the engine to answer a question
_LOOK_EVERY_S = 0.25


@dataclass(frozen=True)
class Contents:
    """What a container gets besides its image; nothing: the image is started as its maker made it.

    Attributes:
        flags: for the server, instead of those that the image names.
        environment: variables, added to the image's.
        models: folder that is mounted read-only at `ROOT`; None: the models are in the image.
    """

    flags: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    models: Path | None = None


class DockerServer:
    """A running container; see `interface.Server`."""

    def __init__(self, api: Any, name: str, image: str, addresses: dict[str, str], lookup_deadline_s: float) -> None:
        self.addresses = addresses
        self._api, self._name, self._image, self._lookup_deadline_s = api, name, image, lookup_deadline_s
        self._death: Death | None = None
        self._looked = time.monotonic()

    @cached_property
    def identity(self) -> Identity:
        """Which server it is: what the one in the container says to --version, once it has nothing else to do."""
        return identify(_version_text(self._api, self._name, self._lookup_deadline_s), self._image)

    def death(self) -> Death | None:
        """Return how it ended, or None while it runs."""
        if self._death is None and time.monotonic() - self._looked >= _LOOK_EVERY_S:
            self._death = _death(self._api, self._name)
            self._looked = time.monotonic()
        return self._death

    def log(self) -> str:
        """Return the last lines that it wrote."""
        return _log(self._api, self._name)


@contextmanager
def running(config: ServingConfig, image_id: str, contents: Contents, work: Path, emit: Emit) -> Iterator[DockerServer]:
    """Run an image; its container is removed when the block has ended.

    Args:
        config: the image's name, the device and the ports.
        image_id: what is run; a name may mean something else by now.
        contents: what the container gets.
        work: folder for the server's log.
        emit: is told when the container could not be removed.

    Raises:
        LaunchError: the engine did not start it, or it ended at once.
        MissingError: a port or a device that was asked for by name is not to be had.
    """
    with closing(docker_engine.connect(config.lookup_deadline_s)) as api:
        name = f"modelmill-{secrets.token_hex(6)}"
        try:
            yield _launch(api, name, config, image_id, contents)
        finally:  # by a name of our own: the engine may have made it before an interrupt kept its id from us
            _remove(api, name, work / LOG, emit)


def _launch(api: Any, name: str, config: ServingConfig, image_id: str, contents: Contents) -> DockerServer:
    image = config.image_name
    api.timeout = config.ready_deadline_s  # some storage drivers copy the image
    try:
        docker_owner.sweep(api)
        api.create_container(
            image_id, list(contents.flags) or None, name=name, ports=list(PORTS.values()),
            labels=docker_owner.label(), environment=dict(contents.environment),
            host_config=_host_config(api, config, contents.models),
        )  # fmt: skip
        api.start(name)
        api.timeout = _ANSWER_S
        published = api.inspect_container(name)["NetworkSettings"]["Ports"] or {}
    except docker_engine.errors() as error:
        raise _refusal(config, error) from error
    if death := _death(api, name):
        raise LaunchError(f"the image {image} ended at once", transient=True, found=str(death))
    addresses = {
        protocol: ports.address(protocol, binding[0]["HostPort"])
        for protocol, port in PORTS.items()
        if (binding := published.get(f"{port}/tcp"))
    }
    if len(addresses) < len(PORTS):
        raise LaunchError(
            f"the Docker engine published no ports of the image {image}", transient=True,
            expected=f"two of them on {LOOPBACK}", found=str(published),
            todo="docker network inspect bridge",
        )  # fmt: skip
    return DockerServer(api, name, image, addresses, config.lookup_deadline_s)


def _refusal(config: ServingConfig, error: Exception) -> MissingError | LaunchError:
    """Return what it means that the engine did not start the container."""
    found = docker_engine.words(error)
    for protocol, port in ports.wanted(config).items():
        if port is not None and re.search(rf"[: ]{port}\b", found):
            return ports.taken(protocol, port, found)
    if config.device == "gpu" and any(word in found.lower() for word in ("gpu", "nvidia", "device driver")):
        return MissingError(
            "the Docker engine has no GPU for containers", expected="an engine with NVIDIA's container toolkit",
            found=found, todo="install nvidia-container-toolkit, or --set serving.device=cpu",
        )  # fmt: skip
    return LaunchError(
        f"the Docker engine did not start the image {config.image_name}", transient=True, found=found,
        todo="see the engine's words",
    )  # fmt: skip


def _remove(api: Any, name: str, log: Path, emit: Emit) -> None:
    from docker.errors import NotFound

    try:
        with contextlib.suppress(*docker_engine.errors()):
            _save_log(api, name, log)
    finally:  # a second Ctrl-C comes here too
        try:
            api.remove_container(name, v=True, force=True)
        except NotFound:
            pass  # it was never made, or somebody else removed it
        except docker_engine.errors() as error:
            text = f"the container {name} is left, remove it with docker rm --force: {docker_engine.words(error)}"
            emit(Note("measure", text, "warning"))


def _host_config(api: Any, config: ServingConfig, models: Path | None) -> Any:
    """Return how the container meets this machine: as little as a server needs."""
    from docker.types import DeviceRequest, LogConfig, Mount

    wanted = {PORTS[protocol]: port for protocol, port in ports.wanted(config).items()}
    return api.create_host_config(
        port_bindings={port: (LOOPBACK, ours) if ours else (LOOPBACK,) for port, ours in wanted.items()},
        # a mount, and no volume: for one that it does not find the engine makes an empty folder
        mounts=[Mount(ROOT, str(models), type="bind", read_only=True)] if models else [],
        cap_drop=["ALL"],
        # files that only their owner may read, of whom the container's root knows nothing
        cap_add=["DAC_OVERRIDE"] if models else [],
        # a relabelled tree would change the store's files too: they are the same ones
        security_opt=["no-new-privileges", *(["label=disable"] if models else [])],
        log_config=LogConfig(type=LogConfig.types.JSON),  # the engine's own choice may be one that cannot be read
        device_requests=[DeviceRequest(count=-1, capabilities=[["gpu"]])] if config.device == "gpu" else None,
    )


def _version_text(api: Any, name: str, deadline_s: float) -> str:
    """Return what the container's server says to --version; empty where it says nothing in time."""
    said: list[bytes] = []

    def ask() -> None:
        with contextlib.suppress(*docker_engine.errors()):
            command = api.exec_create(name, ["tensorflow_model_server", "--version"], stderr=False)
            said.append(api.exec_start(command["Id"]))

    # the SDK waits for ever for what a command prints; the thread ends with the container at the latest
    thread = threading.Thread(target=ask, name="modelmill-version", daemon=True)
    thread.start()
    thread.join(deadline_s)
    return said[0].decode("utf-8", "replace") if said else ""


def _death(api: Any, name: str) -> Death | None:
    """Return how a container ended, or None while it runs."""
    from docker.errors import NotFound

    try:
        state = api.inspect_container(name)["State"]
    except NotFound:
        return Death("the container was removed from outside", True, "")
    except docker_engine.errors() as error:
        return Death(f"the Docker engine is gone: {docker_engine.words(error)}", True, "")
    if state["Running"]:
        return None
    log = _log(api, name)
    if state["OOMKilled"]:
        return Death("the container was ended by the system, which ran out of memory", True, log)
    # a shell reports its child's signal as 128 and its number; 255 is a status of its own
    code = int(state["ExitCode"])
    return ended("the container", 128 - code if code - 128 in signal.valid_signals() else code, log)


def _log(api: Any, name: str) -> str:
    with contextlib.suppress(*docker_engine.errors()):
        return str(api.logs(name, tail=_LINES).decode("utf-8", "replace")).strip()
    return ""


def _save_log(api: Any, name: str, log: Path) -> None:
    with log.open("wb") as file:
        for chunk in api.logs(name, stream=True, follow=False):
            file.write(chunk)
