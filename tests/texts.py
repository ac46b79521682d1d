"""Real texts that ship with scikit-learn: what its data sets are about, in pieces, each labelled by its data set."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.data import DataConfig, TextConfig

SETS = ("breast_cancer", "diabetes", "iris", "wine")
WORDS, VOCABULARY = 12, 200


def pieces() -> tuple[list[str], list[int]]:
    """Return texts and their labels; a piece begins at each second word."""
    from sklearn import datasets

    texts, labels = [], []
    for label, name in enumerate(SETS):
        words = getattr(datasets, f"load_{name}")().DESCR.split()
        found = [" ".join(words[start : start + WORDS]) for start in range(0, len(words) - WORDS, 2)]
        texts += found
        labels += [label] * len(found)
    return texts, labels


def write(path: Path) -> DataConfig:
    """Write them as an .npz; return the config that reads it."""
    texts, labels = pieces()
    np.savez(path, x_train=np.array(texts), y_train=np.array(labels))
    return DataConfig(source="npz", path=str(path), text=TextConfig(vocabulary=VOCABULARY, length=WORDS))
