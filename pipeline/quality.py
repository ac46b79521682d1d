"""What a model is judged by while it is made: one number of at most 1, and more is better."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pipeline.predictor import Head


def quality(head: Head, wanted: np.ndarray, answered: np.ndarray) -> float:
    """Return what a head is judged by, at most 1: the share of right answers, or the coefficient of determination.

    R2 is scikit-learn's r2_score: of a regression the mean over its values, of a reconstruction that of all values of
    the sample together ("variance_weighted").
    """
    if head.task == "classification":
        return float(np.mean(answered.argmax(axis=1) == wanted))
    from sklearn.metrics import r2_score

    flat = [array.reshape(len(array), -1) for array in (wanted, answered)]
    together = "variance_weighted" if head.task == "reconstruction" else "uniform_average"
    return float(r2_score(*flat, multioutput=together))
