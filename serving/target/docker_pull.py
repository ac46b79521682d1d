"""Pulls an image for `docker_image`, as `python -m serving.target.docker_pull NAME`: to kill it is to give it up.

Each line of its output is a message of the engine in JSON; the last is {"done": true} or {"error": why}.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from pipeline.errors import MissingError
from serving.target import docker_engine

_CONNECT_S = 60.0  # whoever started it has a deadline of its own


def main() -> None:
    """Print the engine's messages while it pulls."""
    try:
        for message in _messages(sys.argv[1]):
            print(json.dumps(message), flush=True)
    except BrokenPipeError:  # nobody is left who wants the image
        sys.exit(1)


def _messages(name: str) -> Iterator[dict[str, Any]]:
    try:
        with closing(docker_engine.connect(_CONNECT_S)) as api:
            for message in api.pull(name, stream=True, decode=True):
                yield message
                if "error" in message:
                    return
    except MissingError as error:
        yield {"error": error.found}
    except docker_engine.errors() as error:
        yield {"error": docker_engine.words(error)}
    else:
        yield {"done": True}


if __name__ == "__main__":
    main()
