"""The models to serve: from --model_config_file, or from --model_name and --model_base_path."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serving.server.status import Code, StatusError, invalid, not_found
from serving.server.storage import Policy

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


def single(name: str, base_path: str) -> tuple[ModelConfig, ...]:
    """Return the one model of --model_name and --model_base_path.

    Raises:
        StatusError: the path is not absolute.
    """
    _require_absolute(name, base_path)
    return (ModelConfig(name, Path(base_path)),)


def read(path: str) -> tuple[ModelConfig, ...]:
    """Return the models of a ModelServerConfig in protobuf's text format.

    Raises:
        StatusError: it cannot be read, or says what cannot be served.
    """
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    try:
        text = Path(path).read_bytes()
    except OSError as error:
        raise not_found(f"{path}; {error.strerror}") from None
    config = model_server_config_pb2.ModelServerConfig()
    try:
        text_format.Parse(text, config)
    except (text_format.ParseError, UnicodeDecodeError) as error:
        print(f"Error parsing text-format tensorflow.serving.ModelServerConfig: {error}", file=sys.stderr, flush=True)
        raise invalid(f"Invalid protobuf file: '{path}'") from None
    kind = config.WhichOneof("config")
    if kind == "custom_model_config":
        raise StatusError(Code.UNIMPLEMENTED, "ModelServer does not yet support custom model config.")
    return tuple(_model(entry) for entry in _listed_once(config.model_config_list.config))


def _listed_once(entries: Any) -> Any:
    names = set()
    for entry in entries:
        if entry.name in names:
            raise invalid(f"Illegal to list model {entry.name} multiple times in config list")
        names.add(entry.name)
    return entries


def _model(entry: Any) -> ModelConfig:
    """Return one entry of the list, checked as rule 3.12 says."""
    _require_absolute(entry.name, entry.base_path)
    if entry.model_platform and entry.model_type:
        raise invalid(
            "Illegal setting both ModelServerConfig::model_type (deprecated) and ModelServerConfig::model_platform."
        )
    if not entry.model_platform and not entry.model_type:
        raise invalid(
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor ModelServerConfig::model_platform, "
            f"model name is {entry.name}"
        )
    if entry.model_platform not in ("", PLATFORM) or entry.model_type not in (0, _DEPRECATED_TENSORFLOW):
        raise invalid(f"Model {entry.name} requests unsupported platform {entry.model_platform or entry.model_type}")
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


def _require_absolute(name: str, base_path: str) -> None:
    if not base_path.startswith("/"):
        raise invalid(f"Expected model {name} to have an absolute path or URI; got base_path()={base_path}")
