"""A model file without a recipe: a single step on it, `modelmill prune --model x.keras --data digits --out DIR`, or
the whole line, `modelmill run --set model.path=x.keras --set data.source=image_folder --set data.path=photos`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pipeline.data.sources import NAMES, PATHS, SECTIONS
from pipeline.errors import InputError
from pipeline.recipes import DEFAULT, OWN_MODEL

# besides the step itself: what shows its result, on the test split or in files
_SECTIONS: dict[str, dict[str, Any]] = {
    "distill": {"distill": {}, "measure": {}},
    "sensitivity": {"sensitivity": {}},
    "shrink": {"shrink": {"macs": 0.5}, "measure": {}},
    "prune": {"prune": {}, "measure": {}},
    "cluster": {"cluster": {}, "measure": {}},
    # what it is there for is the int8 file
    "quantize": {"quantize": {}, "export": {"tflite": ["float32", "int8"], "onnx": []}, "measure": {}},
    "export": {"export": {}},
    "validate": {"export": {}, "measure": {}},
    # what each stage would do with it, which makes none
    "doctor": {"shrink": {"macs": 0.5}, "prune": {}, "cluster": {}, "quantize": {}, "export": {}},
}
# what the verb sensitivity adds to a recipe without such a section
EVERY_TECHNIQUE = "sensitivity={techniques: [shrink, prune, cluster, quantize]}"
VERBS = tuple(_SECTIONS)
# of shrink, which has one
_TARGET = re.compile(r"\s*shrink\.(parameters|latency)\b")

_PATH = "model.path="


def document(verb: str, model: Path, data: str, assignments: Iterable[str] = ()) -> dict[str, Any]:
    """Return the recipe, as a mapping, that imports a model and does one step.

    Args:
        verb: one of VERBS.
        model: a .keras or .h5 file, or a SavedModel folder.
        data: name of a data source, or path of an .npz or of a folder of images.
        assignments: that come after it: a target of shrink takes the place of the usual one.

    Raises:
        InputError: there is no such data.
    """
    found: dict[str, Any] = {
        "name": _name(f"{verb}-{model.stem}"),
        "data": source(data),
        "model": {"path": str(model)},
        **_SECTIONS[verb],
    }
    if verb == "shrink" and any(_TARGET.match(one) for one in assignments):
        found["shrink"] = {}
    return found if verb == "validate" else found | {"serving": None}


def source(data: str) -> dict[str, str]:
    """Return the recipe's section `data` for what --data names: a data source, an .npz or a folder of images.

    Raises:
        InputError: there is no such data.
    """
    bare = [name for name in NAMES if name not in PATHS and name not in SECTIONS]
    if data in bare:
        return {"source": data}
    if data.endswith(".npz"):
        return {"source": "npz", "path": data}
    if Path(data).is_dir():
        return {"source": "image_folder", "path": data}
    raise InputError(
        f"--data {data}: no such data", found=data,
        expected=f"{', '.join(bare)}, or the path of an .npz file or of a folder of images",
        todo="correct it; a recipe can say more of its data",
    )  # fmt: skip


def default(assignments: Iterable[str]) -> tuple[str, tuple[str, ...]]:
    """Return the built-in recipe that is meant where none is named, and assignments that come before the user's."""
    paths = [one.removeprefix(_PATH) for one in assignments if one.startswith(_PATH)]
    if not paths:
        return DEFAULT, ()
    path = Path(paths[-1].strip("\"' "))
    name = f"name={_name(path.resolve().stem)}"
    from pipeline.formats.plain.folder import is_saved_model, kind  # what few commands need, few wait for

    if is_saved_model(path) and kind(path) == "plain":
        said = "a SavedModel that is a graph without layers: exported and measured, not pruned nor trained"
        return OWN_MODEL, (name, f"description={said!r}", "prune=null", "quantize=null")
    return OWN_MODEL, (name,)


def _name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).lstrip("._-")[:100] or "model"
