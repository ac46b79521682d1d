"""What a model is judged by while it is made: one number of at most 1, and more is better."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pipeline.predictor import Head


def quality(head: Head, wanted: np.ndarray, answered: np.ndarray) -> float:
    """Return what a head is judged by, at most 1: the share of right answers, or the coefficient of determination.

    R2 of a regression is the mean over its values, scikit-learn's r2_score; of a reconstruction it is that of all
    values of the sample together: "variance_weighted", but an error where the values never differ counts too.
    """
    if head.task == "classification":
        return float(np.mean(answered.argmax(axis=1) == wanted))
    if head.task == "multilabel":
        from sklearn.metrics import f1_score

        return float(f1_score(wanted, answered > 0, average="macro", zero_division=0))
    if head.task == "anomaly":
        from sklearn.metrics import roc_auc_score

        return float(roc_auc_score(wanted, answered))
    flat = [array.reshape(len(array), -1) for array in (wanted, answered)]
    if head.task == "reconstruction":
        truth, found = (array.astype(np.float64) for array in flat)
        return float(1 - np.square(truth - found).sum() / np.square(truth - truth.mean(axis=0)).sum())
    from sklearn.metrics import r2_score

    return float(r2_score(*flat))
