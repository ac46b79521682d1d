"""Ports of servers on this machine: loopback, and free ones unless the recipe names them."""

from __future__ import annotations

import contextlib
import socket

from pipeline.errors import MissingError
from serving.config import ServingConfig

LOOPBACK = "127.0.0.1"


def address(protocol: str, port: int | str) -> str:
    """Return grpc://HOST:PORT or http://HOST:PORT."""
    return f"{'grpc' if protocol == 'grpc' else 'http'}://{LOOPBACK}:{port}"


def wanted(config: ServingConfig) -> dict[str, int | None]:
    """Return the port that the recipe names for each protocol, or None where any will do."""
    return {"grpc": config.grpc_port, "rest": config.rest_port}


def free(config: ServingConfig) -> dict[str, int]:
    """Return a free port for each protocol: the one that the recipe names, else any.

    Raises:
        MissingError: the one that it names is taken.
    """
    found = {}
    with contextlib.ExitStack() as held:  # all at once, so that no two are the same
        for protocol, port in wanted(config).items():
            one = held.enter_context(socket.socket())
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                one.bind((LOOPBACK, port or 0))
            except OSError as error:
                raise taken(protocol, port, error.strerror or str(error)) from None
            found[protocol] = int(one.getsockname()[1])
    return found


def taken(protocol: str, port: int | None, found: str) -> MissingError:
    """Return the error for a port that somebody else has."""
    return MissingError(
        f"port {port} is not free", expected=f"a free port for serving.{protocol}_port on {LOOPBACK}", found=found,
        todo=f"choose another, or leave serving.{protocol}_port out: then a free one is taken",
    )  # fmt: skip
