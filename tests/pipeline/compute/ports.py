"""Addresses on loopback for workers of a test."""

from __future__ import annotations

import socket


def free(count: int) -> tuple[str, ...]:
    """Return addresses whose ports nobody had a moment ago, each another one."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return tuple(f"127.0.0.1:{port}" for port in ports)
