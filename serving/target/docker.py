"""The docker target: a container of TF Serving, or of any image with its conventions."""

from __future__ import annotations

import contextlib
import re
import secrets
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.errors import MissingError
from pipeline.events import Emit, Note
from serving import layout
from serving.config import ServingConfig, TargetName
from serving.layout import Deployment
from serving.target import docker_engine, docker_image, docker_owner, ports
from serving.target.interface import LOG, Death, Identity, LaunchError, ended, identify
from serving.target.ports import LOOPBACK

_ROOT = "/models"
_PORTS = {"grpc": 8500, "rest": 8501}  # in the container; the image's entrypoint sets them
_LINES = 20
_ANSWER_S = 30.0  # for the engine to answer a question
_LOOK_EVERY_S = 0.25


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


class DockerTarget:
    """The Docker engine of this machine, with an image; see `interface.Target`."""

    name: TargetName = "docker"
    ours = True

    def __init__(self, config: ServingConfig, image_id: str, emit: Emit) -> None:
        self._config, self._image_id, self._emit = config, image_id, emit

    def decisive(self) -> dict[str, str | None]:
        """Return the image's name, its id (a tag moves), and what the container computes on."""
        return {"image": self._config.image_name, "image_id": self._image_id, "device": self._config.device}

    @contextmanager
    def start(self, deployment: Deployment, work: Path) -> Iterator[DockerServer]:
        """Run the image, its ports on loopback and the models mounted read-only; see `interface.Target.start`."""
        tree = (work / "models").absolute()
        tree.mkdir(parents=True)
        flags = layout.write(deployment, tree, _ROOT)
        with closing(docker_engine.connect(self._config.lookup_deadline_s)) as api:
            name = f"modelmill-{secrets.token_hex(6)}"
            try:
                yield self._launch(api, name, deployment.name, flags, tree)
            finally:  # by a name of our own: the engine may have made it before an interrupt kept its id from us
                self._remove(api, name, work / LOG)

    def _launch(self, api: Any, name: str, model: str, flags: tuple[str, ...], tree: Path) -> DockerServer:
        image = self._config.image_name
        api.timeout = self._config.ready_deadline_s  # some storage drivers copy the image
        try:
            docker_owner.sweep(api)
            api.create_container(
                self._image_id, list(flags), name=name, ports=list(_PORTS.values()), labels=docker_owner.label(),
                environment={"MODEL_NAME": model, "MODEL_BASE_PATH": _ROOT},
                host_config=_host_config(api, self._config, tree),
            )  # fmt: skip
            api.start(name)
            api.timeout = _ANSWER_S
            published = api.inspect_container(name)["NetworkSettings"]["Ports"] or {}
        except docker_engine.errors() as error:
            raise self._refusal(error) from error
        if death := _death(api, name):
            raise LaunchError(f"the image {image} ended at once", transient=True, found=str(death))
        addresses = {
            protocol: ports.address(protocol, binding[0]["HostPort"])
            for protocol, port in _PORTS.items()
            if (binding := published.get(f"{port}/tcp"))
        }
        if len(addresses) < len(_PORTS):
            raise LaunchError(
                f"the Docker engine published no ports of the image {image}", transient=True,
                expected=f"two of them on {LOOPBACK}", found=str(published),
                todo="docker network inspect bridge, or --set serving.target=embedded",
            )  # fmt: skip
        return DockerServer(api, name, image, addresses, self._config.lookup_deadline_s)

    def _refusal(self, error: Exception) -> MissingError | LaunchError:
        """Return what it means that the engine did not start the container."""
        found = docker_engine.words(error)
        for protocol, port in ports.wanted(self._config).items():
            if port is not None and re.search(rf"[: ]{port}\b", found):
                return ports.taken(protocol, port, found)
        if self._config.device == "gpu" and any(word in found.lower() for word in ("gpu", "nvidia", "device driver")):
            return MissingError(
                "the Docker engine has no GPU for containers", expected="an engine with NVIDIA's container toolkit",
                found=found, todo="install nvidia-container-toolkit, or --set serving.device=cpu",
            )  # fmt: skip
        return LaunchError(
            f"the Docker engine did not start the image {self._config.image_name}", transient=True, found=found,
            todo="see the engine's words, or --set serving.target=embedded",
        )  # fmt: skip

    def _remove(self, api: Any, name: str, log: Path) -> None:
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
                self._emit(Note("measure", text, "warning"))


def find(config: ServingConfig, emit: Emit) -> DockerTarget:
    """Return the engine of this machine with the config's image, which is pulled if it is absent.

    Raises:
        InputError: the image's name is none.
        MissingError: there is no engine that can be used, the image is not to be had, or a port is taken.
    """
    deadline = time.monotonic() + config.lookup_deadline_s
    with closing(docker_engine.connect(config.lookup_deadline_s)) as api:
        found = DockerTarget(config, docker_image.resolve(api, config, deadline, emit), emit)
        # what a killed run left takes cores, even where this one should not need a container
        with contextlib.suppress(*docker_engine.errors()):
            docker_owner.sweep(api)
    ports.free(config)  # a port that is named and taken is told now, not after the training
    return found


def _host_config(api: Any, config: ServingConfig, tree: Path) -> Any:
    """Return how the container meets this machine: as little as a server needs."""
    from docker.types import DeviceRequest, LogConfig, Mount

    wanted = {_PORTS[protocol]: port for protocol, port in ports.wanted(config).items()}
    return api.create_host_config(
        port_bindings={port: (LOOPBACK, ours) if ours else (LOOPBACK,) for port, ours in wanted.items()},
        # a mount, and no volume: for one that it does not find the engine makes an empty folder
        mounts=[Mount(_ROOT, str(tree), type="bind", read_only=True)],
        cap_drop=["ALL"],
        cap_add=["DAC_OVERRIDE"],  # files that only their owner may read, of whom the container's root knows nothing
        # a relabelled tree would change the store's files too: they are the same ones
        security_opt=["no-new-privileges", "label=disable"],
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
