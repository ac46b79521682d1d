"""Names of classes in the exported files and beside them: of a head's logits and probabilities, in their order.

beside      labels.txt, of several heads NAME.labels.txt: a name a line, in UTF-8
SavedModel  the same in `1/assets.extra/`, which servers and loaders leave alone
.tflite     the same as associated files of its metadata (`tflite/metadata`), in a zip archive at the file's end
.onnx       the metadata property `classes`, of several heads NAME.classes: a JSON list of strings
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.predictor import Spec

if TYPE_CHECKING:
    from pipeline.predictor import Head

FOLDER = "1/assets.extra"
_FILE, _PROPERTY = "labels.txt", "classes"
_LINE_ENDS = re.compile(r"[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]+")


def filename(head: Head) -> str:
    """Return the name of a head's file."""
    return _named(head.name, _FILE)


def files(spec: Spec) -> dict[str, str]:
    """Return file name -> text, for each head that has classes; a line end inside a name becomes a space."""
    return {
        filename(head): "".join(f"{_LINE_ENDS.sub(' ', name)}\n" for name in head.classes)
        for head in spec.heads
        if head.classes
    }


def write(spec: Spec, folder: Path) -> list[str]:
    """Write a file for each head that has classes into a folder, which is made if missing; return their names."""
    found = files(spec)
    for name, text in found.items():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
    return list(found)


def properties(spec: Spec) -> dict[str, str]:
    """Return the metadata properties of an .onnx: key -> JSON list of names."""
    named = [head for head in spec.heads if head.classes]
    return {_named(head.name, _PROPERTY): json.dumps(head.classes, ensure_ascii=False) for head in named}


def read(path: Path) -> dict[str, tuple[str, ...]]:
    """Return head name (of the only one: "") -> the names of its classes, as an exported file itself holds them.

    Args:
        path: a .tflite, an .onnx, or the folder of a SavedModel that holds `1/`.
    """
    if path.is_dir():
        texts = {one.name: one.read_text(encoding="utf-8") for one in sorted((path / FOLDER).glob(f"*{_FILE}"))}
        return _parsed(texts)
    if path.suffix == ".tflite":
        from pipeline.formats.tflite import metadata

        return _parsed(metadata.label_files(path))
    import onnx

    held: Any = onnx.load(str(path), load_external_data=False).metadata_props
    keys = {one.key: one.value for one in held if one.key.split(".")[-1] == _PROPERTY}
    return {key.removesuffix(_PROPERTY).rstrip("."): tuple(json.loads(value)) for key, value in keys.items()}


def _parsed(texts: dict[str, str]) -> dict[str, tuple[str, ...]]:
    return {
        name.removesuffix(_FILE).rstrip("."): tuple(text.removesuffix("\n").split("\n")) for name, text in texts.items()
    }


def _named(head: str, what: str) -> str:
    return f"{head}.{what}" if head else what
