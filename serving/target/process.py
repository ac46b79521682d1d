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
_KILLED_S = 5.0


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
        kill(process.pid)
        process.wait()


def kill(group: int) -> None:
    """Kill a group of processes; return once none of it runs: until then one may hold its ports and write to its log.

    A kill is no more than sent when `os.killpg` returns, and below a leader that is gone nobody else waits for what it
    started. A process inside a system call that cannot be interrupted is not waited for longer than _KILLED_S.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
    deadline = time.monotonic() + _KILLED_S
    while runs(group) and time.monotonic() < deadline:
        time.sleep(0.01)


def runs(group: int) -> bool:
    """Return whether any process of a group runs; one that has ended and that nobody has waited for does not."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # something of it runs as another user
        return True
    import psutil  # costs more than the server's end, which seldom comes here

    for process in psutil.process_iter(["status"]):
        with contextlib.suppress(ProcessLookupError):
            if os.getpgid(process.pid) == group and process.info["status"] != psutil.STATUS_ZOMBIE:
                return True
    return False
