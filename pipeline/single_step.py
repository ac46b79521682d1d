"""A single step on a model file, without a recipe: `modelmill prune --model x.keras --data digits --out DIR`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pipeline.data.sources import PATHS, SECTIONS, SOURCES
from pipeline.errors import InputError

# besides the step itself: what shows its result, on the test split or in files
_SECTIONS: dict[str, dict[str, Any]] = {
    "distill": {"distill": {}, "measure": {}},
    "prune": {"prune": {}, "measure": {}},
    # what it is there for is the int8 file
    "quantize": {"quantize": {}, "export": {"tflite": ["float32", "int8"], "onnx": []}, "measure": {}},
    "export": {"export": {}},
    "validate": {"export": {}, "measure": {}},
}
VERBS = tuple(_SECTIONS)


def document(verb: str, model: Path, data: str) -> dict[str, Any]:
    """Return the recipe, as a mapping, that imports a model and does one step.

    Args:
        verb: one of VERBS.
        model: a .keras or .h5 file, or a SavedModel folder.
        data: name of a data source, or path of an .npz.

    Raises:
        InputError: there is no such data.
    """
    bare = [name for name in SOURCES if name not in PATHS and name not in SECTIONS]
    if data in bare:
        source = {"source": data}
    elif data.endswith(".npz"):
        source = {"source": "npz", "path": data}
    else:
        raise InputError(
            f"--data {data}: no such data", expected=f"{', '.join(bare)}, or the path of an .npz file", found=data,
            todo="correct it; a recipe can say more of its data",
        )  # fmt: skip
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", f"{verb}-{model.stem}")[:100]
    found: dict[str, Any] = {"name": name, "data": source, "model": {"path": str(model)}, **_SECTIONS[verb]}
    return found if verb == "validate" else found | {"serving": None}
