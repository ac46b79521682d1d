"""`image.json` as types: what was built, how it was measured, and whether it got its name. Keys only ever get added."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from pipeline.config import Frozen
from pipeline.files import canonical, hashes, sha256, write_json
from pipeline.report.document import Artifact, Gate
from pipeline.report.shipped import Base, FirstRequest, Shipped

FILE = "image.json"
CONTENT_LABEL = "modelmill.sha256"  # of the image: what `content` gives of the artifact


class Image(Frozen):
    """The whole of image.json.

    Verdict "fail": it missed a gate or does not serve, has no tag and is gone; "error": so too, but failures of the
    moment kept it from being judged. `name` and `version` are the served model's. `bytes` are the image's, `added`
    those above its base. `files` are those below /models with their sha256. `artifact` has the runs of this image and
    not those of the run; its drops are against `reference`. `command` starts the image.
    """

    schema_: Literal[1] = Field(default=1, alias="schema")
    modelmill: str
    verdict: Literal["pass", "fail", "error"]
    tag: str | None
    wanted: str
    run: str
    recipe: str
    name: str
    version: int
    id: str
    base: Base
    bytes: int
    added: int
    labels: dict[str, str]
    flags: list[str]
    files: dict[str, str]
    artifact: Artifact
    reference: str
    first_requests: list[FirstRequest]
    gates: list[Gate]
    notes: list[str]
    command: str
    machine: dict[str, Any]


def write(image: Image, folder: Path) -> Path:
    """Write image.json into a run's folder; return its path."""
    path = folder / FILE
    write_json(path, image.model_dump(mode="json", by_alias=True))
    return path


def read(folder: Path) -> Image:
    """Return what a run's folder says of its last image."""
    return Image.model_validate_json((folder / FILE).read_bytes())


def shipped(image: Image) -> Shipped:
    """Return what the run's report shows of an image."""
    kept = {name: getattr(image, name) for name in Shipped.model_fields if name != "artifact"}
    return Shipped(artifact=image.artifact.id, **kept)


def of_run(folder: Path, artifacts: Iterable[Artifact]) -> Shipped | None:
    """Return what a run's report shows of its last image; None where there is none, or its files are others by now."""
    try:
        image = read(folder)
    except (FileNotFoundError, ValidationError):  # of another version: the next image writes it anew
        return None
    item = next((one for one in artifacts if one.id == image.artifact.id and one.path), None)
    if item is None or image.labels.get(CONTENT_LABEL) != content(folder / str(item.path)):
        return None
    return shipped(image)


def content(path: Path) -> str:
    """Return the sha256 of a file, or of what a folder's files are called and hold."""
    return digest(hashes(path, path)) if path.is_dir() else sha256(path)


def digest(files: Mapping[str, str]) -> str:
    """Return one hash for files by their names and hashes."""
    return hashlib.sha256(canonical(files).encode()).hexdigest()
