"""Real images with several labels: what is to be said of a handwritten digit."""

from __future__ import annotations

from pathlib import Path

import numpy as np

LABELS = ("even", "at least 5", "prime", "has a loop")
OF_DIGIT = np.array([[n % 2 == 0, n >= 5, n in (2, 3, 5, 7), n in (0, 6, 8, 9)] for n in range(10)])


def arrays() -> tuple[np.ndarray, np.ndarray]:
    """Return images uint8 [1797, 8, 8] of 0..16, and their labels bool [1797, 4]."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return bunch.images.astype(np.uint8), OF_DIGIT[bunch.target]


def write(path: Path) -> Path:
    """Write them as an .npz file."""
    x, y = arrays()
    np.savez(path, x_train=x, y_train=y)
    return path
