"""A quantization-aware model inside an artifact: beside `model.keras`, `fake_quant.npz` with all weights and ranges.

TF-MOT's wrappers cannot be read back from a Keras file. So `model.keras` holds the plain layers, with the weights that
an int8 file rounds, and what the model is with its wrappers is built of them again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.compress import fake_quant
from pipeline.files import write_json
from pipeline.formats import keras_file
from pipeline.predictor import Spec

WEIGHTS, OUT = "fake_quant.npz", "left_out.json"


def write(built: Any, folder: Path, out: Mapping[str, str] | None = None) -> None:
    """Write what `compress.fake_quant.build` made of the folder's model, after training.

    Args:
        out: what it was given of layers that are left out.
    """
    write_json(folder / OUT, dict(out or {}))
    arrays = {f"{place:05d}": values for place, values in enumerate(built.get_weights())}
    np.savez(folder / WEIGHTS, allow_pickle=False, **arrays)


def read(folder: Path) -> tuple[Any, Spec]:
    """Return a stage's model and its spec, with fake quantization where it has that; see `keras_file.read`."""
    model, spec = keras_file.read(folder)
    if not (folder / WEIGHTS).exists():
        return model, spec
    built = fake_quant.build(model, out=json.loads((folder / OUT).read_text(encoding="utf-8")))
    with np.load(folder / WEIGHTS, allow_pickle=False) as stored:
        built.set_weights([stored[name] for name in sorted(stored.files)])
    return built, spec
