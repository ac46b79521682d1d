"""Builds an image under a name that nobody uses, and takes it away again; what shall stay is given another name."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import RunError, translate_os_error
from pipeline.events import Emit, Note, Progress
from serving.target import docker_engine, docker_owner

TEMPORARY = "modelmill-unjudged"
BUILD_LABEL = "modelmill.build"
LAST_LABEL = "modelmill.artifact"  # an image without it was not finished

_STEP = re.compile(r"Step (\d+)/(\d+) : (.*)")
_SILENCE_S = 600.0  # that a step of a build may take, such as to send a large model
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(
    rf"(?:[A-Za-z0-9.-]+(?::[0-9]+)?/)?{_COMPONENT}(?:/{_COMPONENT})*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?"
)
_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}\Z")


@dataclass(frozen=True)
class Built:
    """An image in the engine.

    Attributes:
        id: sha256:..., which no tag can move.
        bytes: its size, that of its base included.
    """

    id: str
    bytes: int


def dockerfile() -> Path:
    """Return docker/serving.Dockerfile, from a clone or from the installed package."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "serving.Dockerfile"
    return installed if installed.is_file() else package.parent / "docker" / "serving.Dockerfile"


def is_name(text: str, *, digest: bool = False) -> bool:
    """Return whether an image can be called that: [REGISTRY/]NAME[:TAG], with `digest` also NAME[:TAG]@sha256:..."""
    name = _DIGEST.sub("", text) if digest else text
    return bool(_NAME.fullmatch(name)) and len(name) <= 255


@contextmanager
def built(api: Any, context: Path, arguments: Mapping[str, str], log: Path, emit: Emit) -> Iterator[Built]:
    """Build a folder with its Dockerfile; the image is gone when the block has ended, unless it was tagged in it.

    Args:
        api: the engine.
        context: what the engine is sent; its Dockerfile sets `BUILD_LABEL` first and `LAST_LABEL` last.
        arguments: build arguments.
        log: file that gets the engine's words, behind what is in it.
        emit: is told of the steps, and of an image that could not be removed.

    Raises:
        RunError: the engine cannot build it.
    """
    mark = docker_owner.mark()
    name = f"{TEMPORARY}:{mark}"
    try:
        api.timeout = _SILENCE_S
        try:
            _build(api, context, name, dict(arguments) | {"BUILD": mark}, log, emit)
            known = api.inspect_image(name)
        except docker_engine.errors() as error:
            raise _failed(docker_engine.words(error), log) from error
        yield Built(str(known["Id"]), int(known["Size"]))
    finally:
        _remove(api, name, mark, emit)


def named(api: Any, name: str) -> str | None:
    """Return the id of the image that has a name.

    Raises:
        RunError: the engine does not say.
    """
    from docker.errors import NotFound

    try:
        with contextlib.suppress(NotFound):
            return str(api.inspect_image(name)["Id"])
    except docker_engine.errors() as error:
        raise RunError(f"it is not known which image is {name}", found=docker_engine.words(error)) from error
    return None


@contextmanager
def tagged(api: Any, image_id: str, name: str) -> Iterator[None]:
    """Give an image a name, for good if the block goes through; else the name is what it was.

    Raises:
        RunError: the engine refuses.
    """
    before = named(api, name)
    try:
        _tag(api, image_id, name)
        yield
    except BaseException:
        with contextlib.suppress(*docker_engine.errors(), RunError):
            if before is None:
                api.remove_image(name, noprune=True)
            else:
                _tag(api, before, name)
        raise


def _tag(api: Any, image_id: str, name: str) -> None:
    repository, _, last = name.rpartition(":")
    if not repository or "/" in last:  # a registry's port, and no tag
        repository, last = name, "latest"
    try:
        api.tag(image_id, repository, tag=last, force=True)
    except docker_engine.errors() as error:
        raise RunError(f"the image cannot be tagged {name}", found=docker_engine.words(error)) from error


def sweep(api: Any) -> None:
    """Remove the images of builds whose owner is gone, and what such builds left unfinished."""
    with contextlib.suppress(*docker_engine.errors()):
        for image in api.images(name=TEMPORARY):
            for name in image["RepoTags"] or ():
                if docker_owner.is_stale(name.rpartition(":")[2], _idle_s(api, image)):
                    _remove_one(api, name)
        _remove_unfinished(api, lambda owner, one: docker_owner.is_stale(owner, _idle_s(api, one)))


def _idle_s(api: Any, one: Mapping[str, Any]) -> float:
    """Return for how long a container, or an image, has had nothing to do, seconds: 0 while a container runs."""
    is_container = "State" in one
    used = docker_owner.is_running(one) if is_container else bool(api.containers(filters={"ancestor": one["Id"]}))
    return 0.0 if used else time.time() - float(one["Created"])


def _build(api: Any, context: Path, name: str, arguments: dict[str, str], log: Path, emit: Emit) -> None:
    messages = api.build(path=str(context), tag=name, buildargs=arguments, rm=True, forcerm=True, decode=True)
    with log.open("a", encoding="utf-8") as file, contextlib.closing(messages):
        for message in messages:
            text = str(message.get("stream") or message.get("status") or "").strip()
            if text:
                file.write(f"{text}\n")
            if step := _STEP.match(text):
                emit(Progress("image", "step", int(step[1]) - 1, int(step[2]), item=step[3].split()[0]))
            if "error" in message:
                file.write(f"{message['error']}\n")
                raise _failed(str(message["error"]), log)


def _failed(found: str, log: Path) -> RunError:
    found = " ".join(found.split())
    return translate_os_error(Exception(found)) or RunError(
        "the image could not be built", found=found, todo=f"see what the engine says in {log}"
    )


def _remove(api: Any, name: str, mark: str, emit: Emit) -> None:
    from docker.errors import NotFound

    try:
        api.remove_image(name, force=True)
    except NotFound:
        with contextlib.suppress(*docker_engine.errors()):
            _remove_unfinished(api, lambda owner, _: owner == mark)
    except docker_engine.errors() as error:
        text = f"the image {name} is left, remove it with docker rmi: {docker_engine.words(error)}"
        emit(Note("image", text, "warning"))


def _remove_unfinished(api: Any, whose: Callable[[str, Mapping[str, Any]], bool]) -> None:
    """Remove what builds left that were interrupted: without a name, and without the label that comes last.

    Args:
        whose: whether what the engine lists is to go, by its mark and itself.
    """

    def unfinished(found: Iterable[dict[str, Any]]) -> list[str]:
        known = [(one, one["Labels"] or {}) for one in found]
        return [one["Id"] for one, labels in known if LAST_LABEL not in labels and whose(labels[BUILD_LABEL], one)]

    for container in unfinished(api.containers(all=True, filters={"label": BUILD_LABEL})):  # of a step
        with contextlib.suppress(*docker_engine.errors()):
            api.remove_container(container, v=True, force=True)
    for image in unfinished(api.images(filters={"label": BUILD_LABEL, "dangling": True})):
        _remove_one(api, image)


def _remove_one(api: Any, name: str) -> None:
    from docker.errors import APIError

    with contextlib.suppress(APIError):  # somebody else removes it at the same time, or uses it
        api.remove_image(name, force=True)
