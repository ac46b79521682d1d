"""Real texts that ship with scikit-learn: what its data sets are about, cut into pieces, each labelled by its data set."""

from __future__ import annotations

from pathlib import Path

import numpy as np

SETS = ("breast_cancer", "diabetes", "iris", "wine")
WORDS = 12


def write(path: Path) -> None:
    """Write an .npz with x_train, strings [n], and y_train; pieces overlap, as a child's book of few texts would."""
    from sklearn import datasets

    texts, labels = [], []
    for label, name in enumerate(SETS):
        words = getattr(datasets, f"load_{name}")().DESCR.split()
        pieces = [" ".join(words[start : start + WORDS]) for start in range(0, len(words) - WORDS, 3)]
        texts += pieces
        labels += [label] * len(pieces)
    np.savez(path, x_train=np.array(texts), y_train=np.array(labels))
