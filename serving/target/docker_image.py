"""The image that the docker target runs: in the engine already, or pulled into it."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from pipeline.errors import InputError, MissingError
from pipeline.events import Emit, Note, Progress
from serving.config import ServingConfig
from serving.target import docker_engine, docker_pull

_MB = 1e6
_EVERY_S = 0.5  # between two events of a pull


def resolve(api: Any, config: ServingConfig, deadline: float, emit: Emit) -> str:
    """Return the id of the config's image; an absent one is pulled, and its progress told in MB.

    Args:
        api: the engine.
        config: names the image, and how long a pull may take.
        deadline: when it must be known whether the image can be had, by `time.monotonic()`.
        emit: takes the events of a pull.

    Raises:
        InputError: the name is none that an image can have.
        MissingError: it is not in the engine, and cannot be pulled.
    """
    name = config.image_name
    found = _id(api, name, deadline)
    if found is None:
        _ask_registry(api, name, config.lookup_deadline_s, deadline)
        emit(Note("measure", f"the Docker engine has no image {name}: it is pulled"))
        _pull(name, config.pull_deadline_s, emit)
        found = _id(api, name, time.monotonic() + config.lookup_deadline_s)
    if found is None:
        raise _absent(name, "nothing under that name after it was pulled")
    return found


def environment(api: Any, name: str) -> dict[str, str]:
    """Return the variables that an image sets.

    Raises:
        MissingError: the engine has no such image, or does not answer.
    """
    try:
        found = api.inspect_image(name)["Config"]["Env"] or []
    except docker_engine.errors() as error:
        raise MissingError(
            f"the image {name} is not in the Docker engine", found=docker_engine.words(error),
            todo=f"docker pull {name}",
        ) from error  # fmt: skip
    return dict(one.partition("=")[::2] for one in found)


def _id(api: Any, name: str, deadline: float) -> str | None:
    """Return the id of an image in the engine, or None."""
    from docker.errors import APIError, NotFound

    api.timeout = _left(deadline)
    try:
        return str(api.inspect_image(name)["Id"])
    except NotFound:
        return None
    except docker_engine.errors() as error:
        if isinstance(error, APIError) and error.is_client_error():
            raise InputError(
                f"{name} is not the name of an image", expected="[REGISTRY/]NAME[:TAG] in lower case",
                found=docker_engine.words(error), todo="name another image",
            ) from error  # fmt: skip
        raise MissingError(
            "the Docker engine does not answer", expected=f"whether it has the image {name}",
            found=docker_engine.words(error), todo="restart Docker",
        ) from error  # fmt: skip


def _ask_registry(api: Any, name: str, deadline_s: float, deadline: float) -> None:
    """Ask the image's registry for it, through the engine: an absent one is known long before a pull gives up."""
    api.timeout = _left(deadline)
    try:
        api.inspect_distribution(name)
    except docker_engine.errors() as error:
        late = docker_engine.is_timeout(error)
        reason = f"no answer within {deadline_s:g} s" if late else docker_engine.words(error)
        raise _absent(name, f"no registry that has it: {reason}") from error


def _absent(name: str, found: str) -> MissingError:
    return MissingError(
        f"the image {name} is not in the Docker engine", expected="it in the engine, or in a registry", found=found,
        todo=f"docker pull {name}, or name another image",
    )  # fmt: skip


def _left(deadline: float) -> float:
    return max(0.1, deadline - time.monotonic())


def _pull(name: str, deadline_s: float, emit: Emit) -> None:
    """Pull in a process of its own: the SDK waits for ever, and the engine goes on until the connection is closed.

    Raises:
        MissingError: it failed, or took longer than the deadline.
    """
    command = [sys.executable, "-P", "-m", docker_pull.__name__, name]
    started = time.monotonic()
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True) as process:
        guard = threading.Timer(deadline_s, process.kill)
        guard.start()
        try:
            assert process.stdout is not None
            failure = _tell(process.stdout, name, emit)
        finally:
            guard.cancel()
            process.kill()
    if time.monotonic() - started >= deadline_s:
        failure = f"no end within serving.pull_deadline_s = {deadline_s:g} s"
    if failure:
        raise _absent(name, f"a pull that failed: {failure}")


def _tell(lines: Iterator[bytes], name: str, emit: Emit) -> str:
    """Turn the engine's messages about a pull into events; return why it failed, or nothing."""
    layers: dict[str, tuple[int, int]] = {}  # layer -> bytes that are here, all bytes
    failure, said = "the process that pulled it ended too early", 0.0
    for line in lines:
        if not line.endswith(b"\n"):
            break  # it was killed in the middle of a line
        message = json.loads(line)
        if "error" in message or "done" in message:
            failure = str(message.get("error", ""))
            continue
        layer, detail = str(message.get("id")), message.get("progressDetail") or {}
        if message.get("status") == "Downloading" and detail.get("total"):
            layers[layer] = int(detail["current"]), int(detail["total"])
        elif message.get("status") in ("Download complete", "Pull complete") and layer in layers:
            layers[layer] = layers[layer][1], layers[layer][1]
        if layers and time.monotonic() - said >= _EVERY_S:
            said = time.monotonic()
            emit(_progress(layers, name))
    if layers:
        emit(_progress(layers, name))
    return failure


def _progress(layers: dict[str, tuple[int, int]], name: str) -> Progress:
    here, total = (math.ceil(sum(sizes) / _MB) for sizes in zip(*layers.values(), strict=True))
    return Progress("measure", "MB pulled", here, total, item=name)
