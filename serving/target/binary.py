"""The binary target: tensorflow_model_server on PATH, or any program that takes its flags."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import AbstractContextManager
from pathlib import Path

from pipeline.errors import MissingError
from pipeline.files import sha256
from serving.config import ServingConfig, TargetName
from serving.layout import Deployment
from serving.target import ports, process
from serving.target.interface import Identity, Server, identify


class BinaryTarget:
    """A program of this machine; see `interface.Target`."""

    name: TargetName = "binary"
    ours = True

    def __init__(self, config: ServingConfig, program: str, version_text: str) -> None:
        self._config, self._program, self._version_text = config, program, version_text

    @property
    def _identity(self) -> Identity:
        return identify(self._version_text, None)

    def decisive(self) -> dict[str, str | None]:
        """Return the program, its content, and what it says of its version."""
        return {"program": self._program, "sha256": sha256(Path(self._program)), "version": self._version_text}

    def start(self, deployment: Deployment, work: Path) -> AbstractContextManager[Server]:
        """Start it; see `interface.Target.start`. TF Serving has no flag for it: it listens on every address."""
        return process.serve([self._program], deployment, work, self._config, self._identity)


def find(config: ServingConfig) -> BinaryTarget:
    """Return the program that the config names.

    Raises:
        MissingError: there is no such program, or it cannot be run.
    """
    if config.device == "gpu":
        raise MissingError("serving.device: gpu is for containers", found="the binary target")
    program = shutil.which(config.binary)
    if program is None:
        raise MissingError(
            f"there is no program {config.binary}", expected="a model server on PATH, or the path of one",
            found="nothing that can be run under that name",
            todo="install tensorflow_model_server, or --set serving.binary=PATH",
        )  # fmt: skip
    program = str(Path(program).absolute())
    ports.free(config)  # a port that is named and taken is told now, not after the training
    return BinaryTarget(config, program, _version_text(program, config.lookup_deadline_s))


def _version_text(program: str, deadline_s: float) -> str:
    """Return what a program says to --version; empty where it goes on and on."""
    try:
        asked = subprocess.Popen(
            [program, "--version"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise MissingError(
            f"{program} cannot be run", expected="a program for this machine", found=error.strerror or str(error),
            todo="install one that runs here",
        ) from None  # fmt: skip
    try:
        said = asked.communicate(timeout=deadline_s)[0].decode("utf-8", "replace").strip()
        return "\n".join(line[:200] for line in said.splitlines()[:2])  # a model server says two lines
    except subprocess.TimeoutExpired:
        return ""  # it takes flags, but not this one: nothing is known of it
    finally:
        process.kill(asked.pid)  # with whatever it started
        asked.wait()
