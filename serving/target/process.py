"""A server as a process of this machine: any program that takes tensorflow_model_server's flags."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipeline.ending import describe
from pipeline.errors import MissingError
from serving import layout
from serving.config import ServingConfig
from serving.layout import Deployment
from serving.target import supervisor
from serving.target.interface import Death, Identity, LaunchError

LOOPBACK = "127.0.0.1"
LOG = "server.log"
_LINES = 20


class ProcessServer:
    """A running server; see `interface.Server`."""

    def __init__(self, process: subprocess.Popen[bytes], ports: dict[str, int], identity: Identity, log: Path) -> None:
        self.addresses = {
            protocol: f"{'grpc' if protocol == 'grpc' else 'http'}://{LOOPBACK}:{port}"
            for protocol, port in ports.items()
        }
        self.identity = identity
        self._process, self._log = process, log

    def death(self) -> Death | None:
        """Return how it ended, or None while it runs."""
        status = self._process.poll()
        return None if status is None else Death(*describe(status), self.log())

    def log(self) -> str:
        """Return the last lines that it wrote."""
        with contextlib.suppress(OSError):
            return "\n".join(self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LINES:])
        return ""


@contextmanager
def serve(
    program: Sequence[str], deployment: Deployment, work: Path, config: ServingConfig, identity: Identity
) -> Iterator[ProcessServer]:
    """Run a program with the flags for a deployment, on loopback, until the block ends.

    Args:
        program: the program and its first arguments; the flags follow.
        deployment: what is served.
        work: an empty folder for the model tree and server.log.
        config: names the ports, or leaves them free.
        identity: which server it is.

    Raises:
        MissingError: a port that was asked for is taken.
        LaunchError: the program cannot be started.
    """
    tree = (work / "models").absolute()
    tree.mkdir(parents=True)
    flags = layout.write(deployment, tree, str(tree))
    ports = _ports({"grpc": config.grpc_port, "rest": config.rest_port})
    command = [*program, f"--port={ports['grpc']}", f"--rest_api_port={ports['rest']}", *flags]
    log = work / LOG
    process = _start(command, log)
    try:
        yield ProcessServer(process, ports, identity, log)
    finally:
        _end(process)


def _start(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    """Start it below a supervisor that ends it when this process ends, in whatever way."""
    with log.open("ab") as output:
        try:
            return subprocess.Popen(
                [sys.executable, "-I", supervisor.__file__, *command], stdin=subprocess.PIPE, stdout=output,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise LaunchError(
                f"{command[0]} cannot be started", transient=True, found=error.strerror or str(error)
            ) from error


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    deadline = time.monotonic() + supervisor.GRACE_S + 1
    try:
        process.stdin.close()
        process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        pass
    finally:  # a second Ctrl-C comes here too; also where the supervisor died before its server
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _ports(wanted: dict[str, int | None]) -> dict[str, int]:
    """Return a free port for each protocol: the one that is asked for, else any.

    Raises:
        MissingError: the port that is asked for is taken.
    """
    found = {}
    with contextlib.ExitStack() as held:  # all at once, so that no two are the same
        for protocol, port in wanted.items():
            one = held.enter_context(socket.socket())
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                one.bind((LOOPBACK, port or 0))
            except OSError as error:
                raise MissingError(
                    f"port {port} is not free", expected=f"a free port for serving.{protocol}_port on {LOOPBACK}",
                    found=error.strerror or str(error),
                    todo=f"choose another, or leave serving.{protocol}_port out: then a free one is taken",
                ) from None  # fmt: skip
            found[protocol] = int(one.getsockname()[1])
    return found
