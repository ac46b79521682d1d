"""The embedded target: our own server, `python -m serving.server`, in a process of its own."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from pipeline.errors import MissingError
from serving.config import ServingConfig, TargetName
from serving.layout import Deployment
from serving.server import flags
from serving.server.flags import Support
from serving.target import ports, process
from serving.target.interface import Identity, Server


class EmbeddedTarget:
    """Our own server; see `interface.Target`."""

    name: TargetName = "embedded"
    ours = True

    def __init__(self, config: ServingConfig) -> None:
        self._config = config

    def decisive(self) -> dict[str, str | None]:
        """Return nothing: its source and TensorFlow's version are in the fingerprint already."""
        return {}

    def start(self, deployment: Deployment, work: Path) -> AbstractContextManager[Server]:
        """Start it on loopback; see `interface.Target.start`."""
        identity = Identity("modelmill", importlib.metadata.version("modelmill"), None)
        # -P: a folder named `serving` where the user happens to be is not our server
        program = [sys.executable, "-P", "-m", "serving.server"]
        return process.serve(program, deployment, work, self._config, identity)


def find(config: ServingConfig) -> EmbeddedTarget:
    """Return the embedded server.

    Raises:
        MissingError: the config asks for what it cannot do.
    """
    if config.device == "gpu":
        raise MissingError("serving.device: gpu is for containers", found="the embedded target")
    if lacking := _lacking(config.flags):
        raise MissingError(
            f"the embedded server cannot do {', '.join(lacking)}", expected="a server for serving.flags",
            found="the embedded one", todo="--set serving.target=docker or binary, or leave these flags out",
        )  # fmt: skip
    ports.free(config)  # a port that is named and taken is told now, not after the training
    return EmbeddedTarget(config)


def _lacking(given: Sequence[str]) -> list[str]:
    """Return the flags that our server does not know, or knows and does not follow: nothing is ignored silently."""
    parsed = flags.parse(given)
    ignored = [*parsed.values.not_default(Support.IGNORED), *parsed.values.not_default(Support.REFUSED)]
    named = [flag for flag in given if flag.removeprefix("--").partition("=")[0] in ignored]
    return [*parsed.bad, *parsed.unknown, *named]
