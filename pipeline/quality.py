"""What a model is judged by while it is made: one number, of its answers to the validation split."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import InputError
from pipeline.predictor import rows
from pipeline.rows import at_once

if TYPE_CHECKING:
    from pipeline.data import Split
    from pipeline.predictor import Head, Input, Spec, Stored


def quality(head: Head, wanted: np.ndarray, answered: np.ndarray, name: str = "") -> float:
    """Return what a head is judged by (`Head.criterion`), or another metric of it.

    R2 of a regression is the mean over its values, scikit-learn's r2_score; of a reconstruction it is that of all
    values of the sample together: "variance_weighted", but an error where the values never differ counts too.

    Args:
        wanted, answered: as `pipeline.scoring.head.parts` has them.
        name: of the metric, without the head's; empty: what it is judged by.

    Raises:
        InputError: the samples leave it undefined.
    """
    name = name or head.criterion.name
    if name == "accuracy" and head.task == "classification":
        return float(np.mean(answered.argmax(axis=1) == wanted))
    if name == "r2":
        return _r2(head, wanted, answered)
    from pipeline.scoring import head as scoring

    found = scoring.value(head, name, wanted, answered)
    if math.isnan(found):
        raise InputError(
            f"data.metric {name} is not defined on the validation split", expected="samples of both kinds in it",
            found=scoring.undefined(head, name, wanted),
            todo="give it more samples (data.split.validation), or change data.metric",
        )  # fmt: skip
    return found


def of_model(spec: Spec, split: Split, answered: np.ndarray) -> float:
    """Return what a model with one head is judged by on a split.

    Args:
        answered: by its Keras model: the head's `end`, but a reconstruction as the model learns it, in [0, 1].
    """
    if spec.head.task == "anomaly":
        answered = scores(spec.input, split.x, answered)
    return quality(spec.head, np.asarray(split.y), answered)


def scores(one: Input, x: Stored, reconstructed: np.ndarray) -> np.ndarray:
    """Return the mean squared error of each sample in units of its value range, float64 [n].

    Args:
        one: the input that is reconstructed.
        x: raw values [n, *shape]; read piece by piece where they are on the disk.
        reconstructed: [n, *shape] in [0, 1].
    """
    low, high = one.bounds
    found = np.empty(len(reconstructed))
    size = at_once(8 * math.prod(one.shape))
    for start in range(0, len(found), size):
        piece = slice(start, start + size)
        errors = (np.asarray(rows(x, piece), np.float64) - low) / (high - low) - reconstructed[piece]
        found[piece] = np.square(errors).reshape(len(errors), -1).mean(axis=1)
    return found


def _r2(head: Head, wanted: np.ndarray, answered: np.ndarray) -> float:
    flat = [array.reshape(len(array), -1) for array in (wanted, answered)]
    if head.task == "reconstruction":
        truth, found = (array.astype(np.float64) for array in flat)
        return float(1 - np.square(truth - found).sum() / np.square(truth - truth.mean(axis=0)).sum())
    from sklearn.metrics import r2_score

    return float(r2_score(*flat))
