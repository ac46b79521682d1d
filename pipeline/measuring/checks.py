"""What every comparison asks of its arrays: something is there, it is finite, and it fits together."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pipeline.errors import RunError
from pipeline.predictor import LOGITS


def output(outputs: Mapping[str, np.ndarray], name: str = LOGITS, *, who: str) -> np.ndarray:
    """Return the named output.

    Raises:
        RunError: it is missing; the message lists the outputs that are there. `who` names the model in it.
    """
    if name not in outputs:
        found = ", ".join(sorted(outputs)) or "no outputs at all"
        raise RunError(
            f"{who} has no output '{name}'",
            expected=f"an output named '{name}'",
            found=found,
            todo="export the model with that output",
        )
    return np.asarray(outputs[name])


def logits(values: np.ndarray, *, who: str) -> np.ndarray:
    """Return the logits as float64 [n, classes], n >= 1, classes >= 2.

    Raises:
        RunError: nothing to compare, a wrong shape, or NaN or infinity among them (the message counts the samples).
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or array.shape[0] < 1 or array.shape[1] < 2:
        raise RunError(
            f"the logits of {who} cannot be compared",
            expected="[samples, classes] with at least 1 sample, 2 classes",
            found=f"shape {list(array.shape)}",
            todo="run the model over the test split first",
        )
    bad = ~np.isfinite(array).all(axis=1)
    if bad.any():
        raise RunError(
            f"the logits of {who} are not all finite",
            expected="finite numbers",
            found=f"NaN or infinity in {int(bad.sum())} of {bad.size} samples, the first is number {int(bad.argmax())}",
            todo="look at the training log and at the conversion: the model is broken",
        )
    return array


def values(array: np.ndarray, *, who: str) -> np.ndarray:
    """Return predicted values as float64 [n, ...], n >= 1.

    Raises:
        RunError: nothing to compare, or NaN or infinity among them (the message counts the samples).
    """
    found = np.asarray(array, dtype=np.float64)
    if found.ndim < 1 or found.size < 1:
        raise RunError(
            f"the values of {who} cannot be compared", expected="[samples, ...] with at least 1 sample",
            found=f"shape {list(found.shape)}", todo="run the model over the test split first",
        )  # fmt: skip
    bad = ~np.isfinite(found.reshape(len(found), -1)).all(axis=1)
    if bad.any():
        raise RunError(
            f"the values of {who} are not all finite", expected="finite numbers",
            found=f"NaN or infinity in {int(bad.sum())} of {bad.size} samples, the first is number {int(bad.argmax())}",
            todo="look at the training log and at the conversion: the model is broken",
        )  # fmt: skip
    return found


def end(outputs: Mapping[str, np.ndarray], name: str, *, who: str) -> np.ndarray:
    """Return the output of a head that is compared: logits or values, float64.

    Raises:
        RunError: it is missing, or has NaN or infinity.
    """
    array = output(outputs, name, who=who)
    return (logits if is_logits(name) else values)(array, who=who)


def is_logits(name: str) -> bool:
    """Return whether an output of this name holds logits."""
    return name == LOGITS or name.endswith(f"_{LOGITS}")


def same_shape(left: np.ndarray, right: np.ndarray) -> None:
    """Raise RunError unless both have as many values a sample, for as many samples."""
    if len(left) != len(right) or left.size != right.size:
        raise RunError(
            "values cannot be compared", expected=f"values of shape {list(left.shape)}",
            found=f"shape {list(right.shape)}", todo="run the model over the same samples",
        )  # fmt: skip


def labels(values: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return the labels as int64 [n], checked against logits [n, classes].

    Raises:
        RunError: another number of labels than logits, no integers, or a label without a logit.
    """
    array = np.asarray(values)
    samples, classes = scores.shape
    if array.shape != (samples,) or not np.issubdtype(array.dtype, np.integer):
        raise RunError(
            "labels and logits do not belong together",
            expected=f"{samples} integer labels, one per row of logits",
            found=f"{array.dtype} labels of shape {list(array.shape)}",
            todo="give labels and logits of the same split",
        )
    if array.min() < 0 or array.max() >= classes:
        raise RunError(
            "a label has no logit",
            expected=f"labels in 0..{classes - 1}",
            found=f"labels from {array.min()} to {array.max()}",
            todo="check the model's number of classes",
        )
    return array.astype(np.int64)
