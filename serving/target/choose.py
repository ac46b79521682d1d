"""Chooses the serving target: the one that is named, or the first of docker, binary and embedded that is there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pipeline.errors import MissingError
from pipeline.events import Emit, Note
from serving.config import ServingConfig, TargetName
from serving.target import binary, docker, embedded, ports, remote
from serving.target.interface import Target

ORDER: tuple[TargetName, ...] = ("docker", "binary", "embedded")


@dataclass(frozen=True)
class Choice:
    """The target that serves.

    Attributes:
        asked: what the recipe says, "auto" or a name.
        passed_over: name -> why it is not the target, in the order of the search.
    """

    asked: str
    target: Target
    passed_over: dict[str, str]


def choose(config: ServingConfig, emit: Emit) -> Choice:
    """Return the target for a config; for `auto` it is said why others were passed over.

    Raises:
        MissingError: the target that is asked for by name is not there, or none is.
    """
    find: dict[str, Callable[[], Target]] = {
        "docker": lambda: docker.find(config, emit),
        "binary": lambda: binary.find(config),
        "embedded": lambda: embedded.find(config),
        "remote": lambda: remote.find(config),
    }
    ports.free(config)  # a port that is named and taken is so for every target
    if config.target != "auto":
        try:
            return _told(Choice(config.target, find[config.target](), {}), config, emit)
        except MissingError as error:
            if config.target in ORDER[:-1] and error.todo:  # the last one is always there
                error.todo += f", or --set serving.target={ORDER[-1]}"
            raise
    passed_over: dict[str, str] = {}
    for name in ORDER:
        try:
            choice = Choice(config.target, find[name](), passed_over)
        except MissingError as error:
            passed_over[name] = f"{error.what}, {error.found}" if error.found else error.what
            continue
        reasons = "; ".join(f"not {other}: {reason}" for other, reason in passed_over.items())
        emit(Note("measure", f"serving target: {name}{f' ({reasons})' if reasons else ''}"))
        return _told(choice, config, emit)
    reasons = "; ".join(f"{name}: {reason}" for name, reason in passed_over.items())
    raise MissingError("there is no target to serve the SavedModels", expected=f"one of {', '.join(ORDER)}",
                       found=reasons, todo="start Docker, or change the section serving")  # fmt: skip


def _told(choice: Choice, config: ServingConfig, emit: Emit) -> Choice:
    """Say what a user may not expect of a target."""
    if choice.target.name == "binary":
        emit(Note("measure", "tensorflow_model_server listens on every address of this machine while it is measured"))
    if config.remote is not None:
        for protocol in config.protocols:
            if protocol not in config.remote.by_protocol():
                emit(Note("measure", f"nothing is measured over {protocol}: serving.remote has no address for it"))
    return choice
