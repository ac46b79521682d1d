"""What a recipe leaves unsaid, and something else tells: the values of its source, the model file, or a pattern."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline.compress.pattern_config import NOfM
from pipeline.compute import performance_config
from pipeline.data.sources import NUMBERS
from pipeline.edge.config import MICRO_ENTRY
from pipeline.edge.profiles import PROFILES
from pipeline.formats.export_config import Config as ExportConfig

# what a recipe exports that does not say what
_TFLITE = ExportConfig.model_fields["tflite"].default


def written_out(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a recipe's mapping with what it implies, so that checks, fingerprints and dumped recipes have it.

    The task where a source's values are no classes; of images the size and colours that the model file takes; how
    much becomes zero where the pattern of prune says that; the keys that a word for performance stands for; and the
    file that a small device takes, exported and measured.
    """
    if "performance" in document:
        document = {**document, "performance": performance_config.as_section(document["performance"])}
    document = {**document, "prune": _as_the_pattern_has_it(document["prune"])} if "prune" in document else document
    document = _with_the_file_of_the_device(document)
    data = document.get("data")
    if not isinstance(data, dict):
        return document
    if data.get("task") is None and data.get("source") in NUMBERS:
        data = {**data, "task": "regression"}
    if data.get("source") == "image_folder":
        data = _as_the_model_has_them(data, document.get("model"))
    return {**document, "data": data}


def _as_the_model_has_them(data: dict[str, Any], model: Any) -> dict[str, Any]:
    wanted = data.get("image_folder") or {}
    path = model.get("path") if isinstance(model, dict) else None
    if not isinstance(wanted, dict) or not isinstance(path, str) or not Path(path).exists():
        return data
    if wanted.get("size") is not None and wanted.get("color") is not None:
        return data

    from pipeline.formats.model_file.shape import image_shape  # what few recipes need, few wait for

    shape = image_shape(Path(path))
    if shape is None:
        return data
    height, width, channels = shape
    found = {"color": {1: "grayscale", 3: "rgb"}[channels or 0]}
    size = {} if height is None or width is None else {"size": [height, width]}
    given = {key: value for key, value in wanted.items() if value is not None}
    return {**data, "image_folder": {**size, **found, **given}}


def _with_the_file_of_the_device(document: Mapping[str, Any]) -> Mapping[str, Any]:
    edge = document.get("edge")
    if not isinstance(edge, dict) or edge.get("artifact") is not None:
        return document
    profile = PROFILES.get(str(edge.get("profile")))
    runtime = edge.get("runtime") or (profile.runtime if profile else None)
    document = {**document, **{name: {} for name in ("export", "measure") if document.get(name) is None}}
    export = document["export"]
    entries = export.get("tflite", _TFLITE) if isinstance(export, dict) else None
    if runtime != "tflite-micro" or not isinstance(entries, (list, tuple)) or MICRO_ENTRY in entries:
        return document
    return {**document, "export": {**export, "tflite": [*entries, MICRO_ENTRY]}}


def _as_the_pattern_has_it(prune: Any) -> Any:
    pattern = prune.get("pattern") if isinstance(prune, dict) else None
    if not isinstance(pattern, dict) or pattern.get("name") != "n-of-m" or prune.get("final_sparsity") is not None:
        return prune
    try:
        return {**prune, "final_sparsity": NOfM.model_validate(pattern).share}
    except ValidationError:
        return prune  # it is told of the pattern itself
