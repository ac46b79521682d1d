"""SavedModels for the served tests; all functions here run in a child process, for TensorFlow's threads' sake."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import models
from pipeline.formats import saved_model
from pipeline.predictor import Spec, classifier
from tests.pipeline.formats import text

DIGITS = classifier("image", (8, 8, 1), (0.0, 16.0), tuple("0123456789"))
TEXTS = text.SPEC
COLUMNS = classifier("features", (30,), (-1.0, 1.0), ("benign", "malignant"))


def write(folder: Path, architecture: str, spec: Spec) -> None:
    """Write an untrained model of an architecture's default config as `folder/1/`."""
    saved_model.write(models.build(models.MODELS[architecture].Config(), spec, 0), folder, spec)


def answer(folder: Path, spec: Spec, batch: np.ndarray) -> dict[str, np.ndarray]:
    """Answer in process."""
    predictor = saved_model.load(folder, spec, 1)
    try:
        return predictor.predict(batch)
    finally:
        predictor.close()
