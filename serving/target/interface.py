"""What a serving target is: something that serves a deployment, and knows when it died.

Who owns the process knows no tensors: a target starts and ends servers, `serving.client` speaks with them.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pipeline.ending import describe
from pipeline.errors import RunError
from serving.config import TargetName
from serving.layout import Deployment

LOG = "server.log"  # in the folder that a server works in


@dataclass(frozen=True)
class Death:
    """How a server ended by itself or was ended by somebody else.

    Attributes:
        reason: one sentence without a full stop.
        transient: it may go well another time: killed from outside, out of memory.
        log: the last lines that it wrote.
    """

    reason: str
    transient: bool
    log: str

    def __str__(self) -> str:
        return f"{self.reason}; its last words:\n{self.log}" if self.log else self.reason


def ended(who: str, status: int, log: str) -> Death:
    """Return the death of a server by its exit status, or by minus the number of the signal that ended it.

    Args:
        who: what ended, as the reason's first words; empty where that goes without saying.
    """
    words, transient = describe(status)
    # a server ends in order only when somebody asks it to
    return Death(f"{who} {words}".strip(), transient or status == 0, log)


class LaunchError(RunError):
    """A server could not be started, or died before it was ready.

    Attributes:
        transient: it may go well another time (a deadline, a kill from outside), so it is no result to keep.
    """

    def __init__(self, what: str, *, transient: bool, expected: str = "", found: str = "", todo: str = "") -> None:
        super().__init__(what, expected=expected, found=found, todo=todo)
        self.transient = transient


@dataclass(frozen=True)
class Identity:
    """Which server it is, for the report: "tensorflow_model_server", "modelmill" or "unknown"."""

    implementation: str
    version: str | None
    image: str | None


def identify(version_text: str, image: str | None) -> Identity:
    """Return which server it is by what it says to --version: "TensorFlow ModelServer: 2.20.0" in its first line."""
    first = (version_text.strip().splitlines() or [""])[0]
    label, _, version = first.partition(": ")
    if label != "TensorFlow ModelServer":
        return Identity("unknown", None, image)
    ours = version.startswith("modelmill ")
    return Identity("modelmill" if ours else "tensorflow_model_server", version.removeprefix("modelmill "), image)


class Server(Protocol):
    """A server that was started, or that somebody else runs.

    Attributes:
        addresses: protocol ("grpc", "rest") -> address, as grpc://HOST:PORT or http://HOST:PORT.
        identity: which server it is.
    """

    @property
    def addresses(self) -> dict[str, str]: ...
    @property
    def identity(self) -> Identity: ...
    def death(self) -> Death | None:
        """Return how it ended, or None while it runs; cheap, so that a caller can ask several times a second."""
        ...

    def log(self) -> str:
        """Return the last lines that it wrote; empty where they cannot be had."""
        ...


class Target(Protocol):
    """A place that can serve; found by `serving.target.choose`."""

    @property
    def name(self) -> TargetName: ...
    @property
    def ours(self) -> bool:
        """Whether it starts servers of our own: their versions are ours to number, and they may be put to the test."""
        ...

    def decisive(self) -> dict[str, str | None]:
        """Return what a measurement behind it depends on: the image's id, the program's version."""
        ...

    def start(self, deployment: Deployment, work: Path) -> AbstractContextManager[Server]:
        """Start a server for the deployment; it has ended when the block has, whatever happens in between.

        Starting is not being ready: whoever asks for the models' status knows.

        Args:
            deployment: what is served, and how.
            work: an empty folder for the model tree and the server's log; it outlives the server.

        Raises:
            LaunchError: it cannot be started.
            MissingError: a port or a device that was asked for by name is not to be had.
        """
        ...
