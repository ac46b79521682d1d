"""The docker target: a container of TF Serving, or of any image with its conventions, with the models mounted."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from pipeline.events import Emit
from serving import layout
from serving.config import ServingConfig, TargetName
from serving.layout import ROOT, Deployment
from serving.target import docker_container, docker_engine, docker_image, docker_owner, ports
from serving.target.docker_container import Contents, DockerServer


class DockerTarget:
    """The Docker engine of this machine, with an image; see `interface.Target`."""

    name: TargetName = "docker"
    ours = True

    def __init__(self, config: ServingConfig, image_id: str, emit: Emit) -> None:
        self._config, self._image_id, self._emit = config, image_id, emit

    def decisive(self) -> dict[str, str | None]:
        """Return the image's name, its id (a tag moves), and what the container computes on."""
        return {"image": self._config.image_name, "image_id": self._image_id, "device": self._config.device}

    @contextmanager
    def start(self, deployment: Deployment, work: Path) -> Iterator[DockerServer]:
        """Run the image, its ports on loopback and the models mounted read-only; see `interface.Target.start`."""
        tree = (work / "models").absolute()
        tree.mkdir(parents=True)
        flags = layout.write(deployment, tree, ROOT)
        contents = Contents(flags, {"MODEL_NAME": deployment.name, "MODEL_BASE_PATH": ROOT}, tree)
        with docker_container.running(self._config, self._image_id, contents, work, self._emit) as server:
            yield server


def find(config: ServingConfig, emit: Emit) -> DockerTarget:
    """Return the engine of this machine with the config's image, which is pulled if it is absent.

    Raises:
        InputError: the image's name is none.
        MissingError: there is no engine that can be used, the image is not to be had, or a port is taken.
    """
    deadline = time.monotonic() + config.lookup_deadline_s
    with closing(docker_engine.connect(config.lookup_deadline_s)) as api:
        found = DockerTarget(config, docker_image.resolve(api, config, deadline, emit), emit)
        # what a killed run left takes cores, even where this one should not need a container
        with contextlib.suppress(*docker_engine.errors()):
            docker_owner.sweep(api)
    ports.free(config)  # a port that is named and taken is told now, not after the training
    return found
