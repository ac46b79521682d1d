"""A server as a process of this machine: any program that takes tensorflow_model_server's flags."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from serving import layout
from serving.config import ServingConfig
from serving.layout import Deployment
from serving.target import ports, supervisor
from serving.target.interface import LOG, Death, Identity, LaunchError, ended

_LINES = 20


class ProcessServer:
    """A running server; see `interface.Server`."""

    def __init__(self, process: subprocess.Popen[bytes], taken: dict[str, int], identity: Identity, log: Path) -> None:
        self.addresses = {protocol: ports.address(protocol, port) for protocol, port in taken.items()}
        self.identity = identity
        self._process, self._log = process, log

    def death(self) -> Death | None:
        """Return how it ended, or None while it runs."""
        status = self._process.poll()
        return None if status is None else ended("", status, self.log())

    def log(self) -> str:
        """Return the last lines that it wrote."""
        with contextlib.suppress(OSError):
            return "\n".join(self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LINES:])
        return ""


@contextmanager
def serve(
    program: Sequence[str], deployment: Deployment, work: Path, config: ServingConfig, identity: Identity
) -> Iterator[ProcessServer]:
    """Run a program with the flags for a deployment until the block ends; its ports are chosen on loopback.

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
    taken = ports.free(config)
    command = [*program, f"--port={taken['grpc']}", f"--rest_api_port={taken['rest']}", *flags]
    log = work / LOG
    process = _start(command, log)
    try:
        yield ProcessServer(process, taken, identity, log)
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
