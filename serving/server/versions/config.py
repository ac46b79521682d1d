"""What --model_config_file and HandleReloadConfigRequest say, checked as TensorFlow Serving checks it (rule 3.12)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serving.server import text_format
from serving.server.status import invalid
from serving.server.versions.storage import Policy

PLATFORM = "tensorflow"
_DEPRECATED_TENSORFLOW = 1  # ModelServerConfig's model_type


@dataclass(frozen=True)
class ModelConfig:
    """One model.

    Attributes:
        base_path: the folder that holds the version folders.
        labels: label -> version.
    """

    name: str
    base_path: Path
    policy: Policy = field(default_factory=Policy)
    labels: dict[str, int] = field(default_factory=dict)


def single(name: str, base_path: str) -> Any:
    """Return the ModelServerConfig of --model_name and --model_base_path."""
    from tensorflow_serving.config import model_server_config_pb2

    config = model_server_config_pb2.ModelServerConfig()
    config.model_config_list.config.add(name=name, base_path=base_path, model_platform=PLATFORM)
    return config


def read(path: str) -> Any:
    """Return the ModelServerConfig that a file has in protobuf's text format.

    Raises:
        StatusError: it cannot be read.
    """
    from tensorflow_serving.config import model_server_config_pb2

    config = model_server_config_pb2.ModelServerConfig()
    text_format.read(path, config)
    return config


def check_list(entries: Iterable[Any]) -> None:
    """Refuse a list that names a model twice, or a base path that is not absolute.

    Raises:
        StatusError: INVALID_ARGUMENT.
    """
    names = set()
    for entry in entries:
        if entry.name in names:
            raise invalid(f"Illegal to list model {entry.name} multiple times in config list")
        names.add(entry.name)
    for entry in entries:
        if not entry.base_path.startswith("/") or "\0" in entry.base_path:
            raise invalid(
                f"Expected model {entry.name} to have an absolute path or URI; got base_path()={entry.base_path}"
            )


def check_unchanged(old: Mapping[str, str], entries: Iterable[Any]) -> None:
    """Refuse another platform for a known model.

    Args:
        old: model -> platform; none: it was never a legal one.

    Raises:
        StatusError: INVALID_ARGUMENT.
    """
    for entry in entries:
        before = old.get(entry.name)
        if before and platform(entry) != before:
            raise invalid(
                f"Illegal to change a model's platform. For model {entry.name} platform was {before} and new platform "
                f"requested is {platform(entry)}"
            )


def check_supported(entries: Iterable[Any]) -> None:
    """Refuse a platform that is none of this server's.

    Raises:
        StatusError: INVALID_ARGUMENT.
    """
    for entry in entries:
        if platform(entry) != PLATFORM:
            raise invalid(f"Model {entry.name} requests unsupported platform {platform(entry)}")


def platform(entry: Any) -> str:
    """Return the platform of a ModelConfig message.

    Raises:
        StatusError: it names none, or in two ways.
    """
    name: str = entry.model_platform
    if entry.model_type:
        if name:
            raise invalid(
                "Illegal setting both ModelServerConfig::model_type (deprecated) and ModelServerConfig::model_platform."
            )
        if entry.model_type != _DEPRECATED_TENSORFLOW:
            raise invalid(f"ModelServerConfig::model_type choice {entry.model_type} not supported.")
        return PLATFORM
    if not name:
        raise invalid(
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor ModelServerConfig::model_platform, "
            f"model name is {entry.name}"
        )
    return name


def model(entry: Any) -> ModelConfig:
    """Return what a ModelConfig message says."""
    return ModelConfig(
        entry.name, Path(entry.base_path), _policy(entry.model_version_policy), dict(entry.version_labels)
    )


def _policy(message: Any) -> Policy:
    kind = message.WhichOneof("policy_choice")
    if kind == "all":
        return Policy("all")
    if kind == "specific":
        return Policy("specific", versions=frozenset(message.specific.versions))
    return Policy("latest", count=message.latest.num_versions or 1)
