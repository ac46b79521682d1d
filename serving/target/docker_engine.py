"""The Docker engine of this machine: how it is reached, and what its errors mean."""

from __future__ import annotations

import os
from typing import Any

from pipeline.errors import MissingError

_LOCAL = ("unix://", "http+unix://", "npipe://")


def connect(timeout_s: float) -> Any:
    """Return a `docker.APIClient` for the engine that the `docker` command would use, if it is on this machine.

    Args:
        timeout_s: seconds that it may take to answer, now and in later calls; the client's `timeout` changes it.

    Raises:
        MissingError: there is none, it is forbidden, does not answer, or is on another machine.
    """
    try:
        from docker import APIClient
    except ModuleNotFoundError as error:
        raise MissingError(
            "the Docker SDK for Python is not installed", expected="the package docker", found=str(error),
            todo="pip install docker",
        ) from None  # fmt: skip
    address, source = _address()
    if not address.startswith(_LOCAL):
        # not even asked: a name that does not resolve takes as long as it likes
        raise MissingError(
            "the Docker engine is on another machine", expected="one on this machine, which can mount the models",
            found=f"{source} {address}",
            todo="unset it, or start a server over there and use serving.target: remote",
        )  # fmt: skip
    try:
        return APIClient(base_url=address, timeout=timeout_s)
    except errors() as error:
        raise _unreachable(address, timeout_s, error) from error


def errors() -> tuple[type[Exception], ...]:
    """Return what the Docker SDK raises, its own exceptions and those of the libraries below it."""
    from docker.errors import DockerException
    from urllib3.exceptions import HTTPError

    return DockerException, HTTPError, OSError  # those of requests are OSErrors


def words(error: BaseException) -> str:
    """Return an error in the engine's own words, on one line."""
    text = getattr(error, "explanation", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())


def is_timeout(error: BaseException) -> bool:
    """Return whether the engine took too long to answer."""
    from requests.exceptions import Timeout

    return any(isinstance(one, (Timeout, TimeoutError)) for one in _causes(error))


def _address() -> tuple[str, str]:
    """Return the engine's address and what names it: DOCKER_HOST, or the context that `docker context use` chose."""
    if address := os.environ.get("DOCKER_HOST"):
        return address, "DOCKER_HOST is"
    from docker.context import ContextAPI

    name = os.environ.get("DOCKER_CONTEXT")
    try:
        context = ContextAPI.get_context(name)
    except Exception as error:  # a broken file is no more than that there
        raise MissingError(
            "Docker's contexts cannot be read", expected="whole files below ~/.docker/contexts", found=words(error),
            todo="docker context ls",
        ) from error  # fmt: skip
    if context is None or not context.Host:
        raise MissingError(
            "the current Docker context names no engine", expected="one that `docker context ls` shows",
            found=f"DOCKER_CONTEXT={name}" if name else "another in ~/.docker/config.json",
            todo="docker context use default",
        )  # fmt: skip
    return context.Host, f"the Docker context {context.name} is"


def _unreachable(address: str, timeout_s: float, error: BaseException) -> MissingError:
    expected = f"an engine at {address}"
    causes = _causes(error)
    if any(isinstance(one, PermissionError) for one in causes):
        return MissingError(
            "the Docker engine is forbidden to this user", expected=f"permission to use {address}",
            found="permission denied",
            todo="let an administrator run `usermod -aG docker USER`, then log in again",
        )  # fmt: skip
    if any(isinstance(one, (FileNotFoundError, ConnectionRefusedError)) for one in causes):
        found = f"nothing that listens at {address}"
        return MissingError("there is no Docker engine", expected=expected, found=found,
                            todo="start Docker, or name another engine's socket on this machine (rootless, Podman) by "
                            "DOCKER_HOST=unix:///run/user/UID/docker.sock")  # fmt: skip
    if is_timeout(error):
        return MissingError("the Docker engine does not answer", expected=expected, todo="restart Docker",
                            found=f"no answer within {timeout_s:g} s")  # fmt: skip
    return MissingError("the Docker engine cannot be used", expected=expected, found=words(error),
                        todo="see what `docker info` says")  # fmt: skip


def _causes(error: BaseException | None) -> list[BaseException]:
    """Return an exception and those it came from: the system's own is below those of three libraries."""
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found
