"""The remote target: a server that is already running. It is asked, never started, stopped or put to the test."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from pipeline.errors import MissingError
from serving.config import RemoteConfig, ServingConfig, TargetName
from serving.layout import Deployment
from serving.target.interface import Death, Identity, Server


class RemoteServer:
    """Somebody else's server; see `interface.Server`."""

    def __init__(self, config: RemoteConfig) -> None:
        self.addresses = {str(protocol): address for protocol, address in config.by_protocol().items()}
        self.identity = Identity("unknown", None, None)

    def death(self) -> Death | None:
        """Return None: from here nobody can tell."""
        return None

    def log(self) -> str:
        """Return nothing: its log is not here."""
        return ""


class RemoteTarget:
    """A server that is already running; see `interface.Target`."""

    name: TargetName = "remote"
    ours = False

    def __init__(self, config: RemoteConfig) -> None:
        self._config = config

    def decisive(self) -> dict[str, str | None]:
        """Return the addresses, and which version is asked."""
        version = None if self._config.version is None else str(self._config.version)
        return {"addresses": " ".join(self._config.addresses), "version": version, "label": self._config.label}

    @contextmanager
    def start(self, deployment: Deployment, work: Path) -> Iterator[Server]:  # noqa: ARG002
        """Yield the server as it is; nothing is deployed to it."""
        yield RemoteServer(self._config)


def find(config: ServingConfig) -> RemoteTarget:
    """Return the server that the config names; whether it has the model is seen when it is asked.

    Raises:
        MissingError: nothing listens at one of its addresses.
    """
    if config.remote is None:
        raise MissingError("serving.target is remote, but serving.remote names no server")
    for address in config.remote.addresses:
        parts = urlsplit(address)
        try:
            socket.create_connection((str(parts.hostname), int(parts.port or 0)), config.lookup_deadline_s).close()
        except OSError as error:
            raise MissingError(
                f"there is no server at {address}", expected="one that is running",
                found=error.strerror or str(error), todo="start it, or correct serving.remote.addresses",
            ) from None  # fmt: skip
    return RemoteTarget(config.remote)
