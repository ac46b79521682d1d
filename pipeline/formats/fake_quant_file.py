"""A quantization-aware model inside an artifact: beside `model.keras`, `fake_quant.npz` with all weights and ranges.

TF-MOT's wrappers cannot be read back from a Keras file. So `model.keras` holds the plain layers, with the weights that
an int8 file rounds, and what the model is with its wrappers is built of them again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pipeline.compress import fake_quant
from pipeline.formats import keras_file
from pipeline.predictor import Spec

WEIGHTS = "fake_quant.npz"


def write(built: Any, folder: Path) -> None:
    """Write what `compress.fake_quant.build` made of the folder's model, after training."""
    arrays = {f"{place:05d}": values for place, values in enumerate(built.get_weights())}
    np.savez(folder / WEIGHTS, allow_pickle=False, **arrays)


def read(folder: Path) -> tuple[Any, Spec]:
    """Return a stage's model and its spec, with fake quantization where it has that; see `keras_file.read`."""
    model, spec = keras_file.read(folder)
    if not (folder / WEIGHTS).exists():
        return model, spec
    built = fake_quant.build(model)
    with np.load(folder / WEIGHTS, allow_pickle=False) as stored:
        built.set_weights([stored[name] for name in sorted(stored.files)])
    return built, spec
