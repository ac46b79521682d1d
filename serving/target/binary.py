"""The binary target: tensorflow_model_server on PATH, or any program that takes its flags."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import AbstractContextManager
from pathlib import Path

from pipeline.errors import MissingError
from serving.config import ServingConfig, TargetName
from serving.layout import Deployment
from serving.target import process
from serving.target.interface import Identity, Server, identify


class BinaryTarget:
    """A program of this machine; see `interface.Target`."""

    name: TargetName = "binary"

    def __init__(self, config: ServingConfig, program: str, version_text: str) -> None:
        self._config, self._program, self._version_text = config, program, version_text

    @property
    def _identity(self) -> Identity:
        return identify(self._version_text, None)

    def decisive(self) -> dict[str, str | None]:
        """Return the program and what it says of its version."""
        return {"program": self._program, "version": self._version_text}

    def start(self, deployment: Deployment, work: Path) -> AbstractContextManager[Server]:
        """Start it on loopback; see `interface.Target.start`."""
        return process.serve([self._program], deployment, work, self._config, self._identity)


def find(config: ServingConfig) -> BinaryTarget:
    """Return the program that the config names.

    Raises:
        MissingError: there is no such program, or it cannot be run.
    """
    program = shutil.which(config.binary)
    if program is None:
        raise MissingError(
            f"there is no program {config.binary}", expected="a model server on PATH, or the path of one",
            found="nothing that can be run under that name",
            todo="install tensorflow_model_server, or --set serving.binary=PATH, or --set serving.target=embedded",
        )  # fmt: skip
    program = str(Path(program).absolute())
    try:
        asked = subprocess.run(
            [program, "--version"], stdin=subprocess.DEVNULL, capture_output=True, timeout=config.lookup_deadline_s,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return BinaryTarget(config, program, "")  # it takes flags, but not this one: nothing is known of it
    except OSError as error:
        raise MissingError(
            f"{program} cannot be run", expected="a program for this machine", found=error.strerror or str(error),
            todo="install one that runs here, or --set serving.target=embedded",
        ) from None  # fmt: skip
    return BinaryTarget(config, program, asked.stdout.decode("utf-8", "replace").strip())
