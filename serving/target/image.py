"""An image with a model baked into it: started as it is, as those start it who ship it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from pipeline.events import Emit
from serving.config import ServingConfig
from serving.target import docker_container, docker_engine, docker_image, ports
from serving.target.docker_container import Contents, DockerServer

_DEFAULT = "model"  # TF Serving's own


@contextmanager
def started(config: ServingConfig, work: Path, emit: Emit) -> Iterator[DockerServer]:
    """Run the config's image on loopback, nothing mounted and with its own command; it has ended with the block.

    Starting is not being ready: whoever asks for the model's status knows.

    Args:
        config: `image` by its name or id (an absent name is pulled), `device`, ports and deadlines.
        work: an existing folder for the server's log.
        emit: is told of a pull, and of a container that could not be removed.

    Raises:
        InputError: the image's name is none.
        MissingError: there is no engine that can be used, the image is not to be had, or a port is taken.
        LaunchError: the engine did not start it, or it ended at once.
    """
    with closing(docker_engine.connect(config.lookup_deadline_s)) as api:
        image_id = docker_image.resolve(api, config, time.monotonic() + config.lookup_deadline_s, emit)
    ports.free(config)
    with docker_container.running(config, image_id, Contents(), work, emit) as server:
        yield server


def model_name(config: ServingConfig) -> str:
    """Return the name that an image serves its model under: its variable MODEL_NAME, TF Serving's "model" without it.

    Args:
        config: names an image that is in the engine.

    Raises:
        MissingError: there is no engine that can be used, or the image is not in it.
    """
    with closing(docker_engine.connect(config.lookup_deadline_s)) as api:
        variables = docker_image.environment(api, config.image_name)
    return variables.get("MODEL_NAME") or _DEFAULT
