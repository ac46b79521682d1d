"""Data sets that come with scikit-learn; nothing is downloaded.

digits         1,797 grey images of 8x8 pixels, values 0..16, ten classes: the UCI "Optical Recognition of
               Handwritten Digits" test set (Alpaydin and Kaynak, 1998)
iris           150 flowers, 4 measures in cm, 3 species (Fisher, 1936)
wine           178 wines, 13 results of chemical analysis, 3 cultivars (UCI; Aeberhard and Forina, 1991)
breast_cancer  569 tumours, 30 measures of cell nuclei, malignant or benign (UCI; Wolberg et al., 1993)
diabetes       442 patients, 10 measures, and how far the disease has gone a year later, 25..346 (Efron et al., 2004);
               the columns as they were measured, not the scaled ones that scikit-learn gives by default
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.data.sources.source import Source, Target
from pipeline.errors import MissingError

if TYPE_CHECKING:
    from pipeline.data.config import DataConfig
    from pipeline.data.prepared import Prepare


@dataclass(frozen=True)
class _Set:
    """What is known of a set without reading it: its files below sklearn/datasets/data, its input, its labels."""

    files: tuple[str, ...]
    shape: tuple[int, ...]
    numbers: bool = False  # to be predicted, not classes

    @property
    def input_name(self) -> str:
        return "image" if len(self.shape) > 1 else "features"


SETS = {
    "digits": _Set(("digits.csv.gz",), (8, 8, 1)),
    "iris": _Set(("iris.csv",), (4,)),
    "wine": _Set(("wine_data.csv",), (13,)),
    "breast_cancer": _Set(("breast_cancer.csv",), (30,)),
    "diabetes": _Set(("diabetes_data_raw.csv.gz", "diabetes_target.csv.gz"), (10,), numbers=True),
}


def load(config: DataConfig, prepare: Prepare) -> Source:  # noqa: ARG001 - every source has the same face
    """Return all samples: x float64 [n, *shape] and labels int64 [n], of diabetes numbers float64 [n]."""
    if config.source == "digits":
        return _digits(*files(config))
    from sklearn import datasets

    known = SETS[config.source]
    bunch = datasets.load_diabetes(scaled=False) if known.numbers else getattr(datasets, f"load_{config.source}")()
    classes = None if known.numbers else tuple(str(name) for name in bunch.target_names)
    columns = {known.input_name: tuple(map(str, bunch.feature_names))}
    return Source({known.input_name: bunch.data}, {"": Target(bunch.target, classes)}, columns=columns)


def _digits(path: Path) -> Source:
    """Read the digits as scikit-learn does, without importing it, which takes longer than all else before training."""
    import numpy as np

    known = SETS["digits"]
    table = np.loadtxt(path, delimiter=",")  # a row: the pixels, and which digit they show
    x, y = table[:, :-1].reshape(-1, *known.shape), table[:, -1].astype(np.int64)
    return Source({known.input_name: x}, {"": Target(y, tuple(str(digit) for digit in range(10)))})


def input_shapes(config: DataConfig) -> dict[str, tuple[int, ...]]:
    """Return input name -> shape of one sample."""
    known = SETS[config.source]
    return {known.input_name: known.shape}


def files(config: DataConfig) -> tuple[Path, ...]:
    """Return the files that hold the raw content, found without importing scikit-learn (which takes a second).

    Raises:
        MissingError: scikit-learn is not installed, or without its data.
    """
    names = SETS[config.source].files
    found = importlib.util.find_spec("sklearn")
    for folder in (found.submodule_search_locations if found else None) or ():
        paths = tuple(Path(folder) / "datasets" / "data" / name for name in names)
        if all(path.is_file() for path in paths):
            return paths
    raise MissingError(
        f"the data source {config.source!r} is part of scikit-learn, and its file is not there",
        expected=" and ".join(f"sklearn/datasets/data/{name}" for name in names) + " in this Python environment",
        found="scikit-learn without it" if found else "no scikit-learn",
        todo="pip install scikit-learn",
    )
