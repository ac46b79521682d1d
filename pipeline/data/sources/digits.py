"""Handwritten digits that come with scikit-learn: 1,797 grey images of 8x8 pixels, values 0..16, ten classes.

The UCI "Optical Recognition of Handwritten Digits" test set (Alpaydin and Kaynak, 1998). Nothing is downloaded.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.data.sources.source import Source, Target
from pipeline.errors import MissingError

if TYPE_CHECKING:
    from pipeline.data.config import DataConfig
    from pipeline.data.prepared import Prepare

CLASSES = tuple("0123456789")


def load(config: DataConfig, prepare: Prepare) -> Source:  # noqa: ARG001 - every source has the same face
    """Return all samples: x float64 [1797, 8, 8, 1], y int64 [1797]."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return Source({"image": bunch.images[..., None]}, {"": Target(bunch.target, CLASSES)})


def input_shapes(config: DataConfig) -> dict[str, tuple[int, ...]]:  # noqa: ARG001 - every source has the same face
    """Return input name -> shape of one sample."""
    return {"image": (8, 8, 1)}


def files(config: DataConfig) -> tuple[Path, ...]:  # noqa: ARG001 - every source has the same face
    """Return the files that hold the raw content, found without importing scikit-learn (which takes a second).

    Raises:
        MissingError: scikit-learn is not installed, or without its data.
    """
    found = importlib.util.find_spec("sklearn")
    for folder in (found.submodule_search_locations if found else None) or ():
        path = Path(folder) / "datasets" / "data" / "digits.csv.gz"
        if path.is_file():
            return (path,)
    raise MissingError(
        "the data source 'digits' is part of scikit-learn, and its file is not there",
        expected="sklearn/datasets/data/digits.csv.gz in this Python environment",
        found="scikit-learn without it" if found else "no scikit-learn",
        todo="pip install scikit-learn",
    )
