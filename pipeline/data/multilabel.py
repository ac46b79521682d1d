"""Samples of which each has any number of labels: checked, and dealt out so that every split has every label."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from pipeline.data.sources.source import Target
from pipeline.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from pipeline.data.split import Name

# a combination of labels with fewer samples is dealt out with others: each of the splits is to get some
_FEWEST = 8


def required(target: Target) -> Target:
    """Return a target as int8 [n, labels] of 0 and 1, with names.

    Raises:
        InputError: it is no such table, or has other names than labels.
    """
    import numpy as np

    y = target.y
    if y.ndim != 2 or y.shape[1] < 2:
        raise InputError(
            "data.task is multilabel, and the labels are no table", expected="0 or 1 for each label, [n, labels]",
            found=f"labels of the shape {list(y.shape)}",
            todo="a column for each label, at least two; data.task=classification where a sample has one class",
        )  # fmt: skip
    table = y.astype(np.float64)
    wrong = int(np.count_nonzero((table != 0) & (table != 1)))
    if wrong:
        others = ", ".join(f"{value:g}" for value in np.unique(table[(table != 0) & (table != 1)])[:5])
        raise InputError(
            "data.task is multilabel, and the labels are not all 0 or 1", expected="0 or 1",
            found=f"{wrong} of {table.size} values, such as {others}",
            todo="1 where a sample has the label, else 0; numbers to predict are data.task=regression",
        )  # fmt: skip
    names = target.classes or tuple(str(place) for place in range(y.shape[1]))
    if len(names) != y.shape[1]:
        raise InputError(
            "data.classes does not name the labels", expected=f"{y.shape[1]} names, one for each column of labels",
            found=f"{len(names)} names", todo="name each column, in their order",
        )  # fmt: skip
    return Target(table.astype(np.int8), names)


def strata(y: np.ndarray, folds: int) -> np.ndarray:
    """Return what to stratify by, int64 [n]: combinations of labels, rare ones together by their rarest label.

    Sechidis, Tsoumakas and Vlahavas (2011) deal out the rarest label first, too; a number for each sample is what
    groups and folds can be dealt out by as well.

    Args:
        y: [n, labels] of 0 and 1. folds: of a cross-validation, else 0.
    """
    import numpy as np

    fewest = max(_FEWEST, 2 * folds)
    _, of = np.unique(y, axis=0, return_inverse=True)
    of = of.reshape(-1).astype(np.int64)
    often = np.bincount(of)
    rare = often[of] < fewest
    first = len(often)
    # the rarest label that a sample has; those without any are a stratum of their own
    order = np.argsort(y.sum(axis=0, dtype=np.int64), kind="stable")
    ranked = y[:, order].astype(bool)
    rarest = np.where(ranked.any(axis=1), ranked.argmax(axis=1), len(order))
    of[rare] = first + rarest[rare]
    counts = np.bincount(of)
    few = (counts > 0) & (counts < fewest)
    left = few[of]
    if left.any():  # together, and with the largest stratum where they are still few
        largest = int(counts.argmax())
        of[left] = len(counts) if left.sum() >= fewest else largest
    return of


def told(y: np.ndarray, classes: Sequence[str], positions: Mapping[Name, np.ndarray]) -> Iterator[str]:
    """Yield what to say of labels that all or none of a split's samples have: nothing can be measured of them there.

    Raises:
        InputError: it is the training split: such a label cannot be learned.
    """
    for name, here in positions.items():
        there = y[here].sum(axis=0)
        same = [
            f"{label} in {count} of {len(here)}"
            for label, count in zip(classes, there, strict=True)
            if count in (0, len(here))
        ]
        if same and name == "train":
            raise InputError(
                "some labels cannot be learned", expected="training samples with and without each label",
                found=", ".join(same), todo="add samples, or leave these labels out",
            )  # fmt: skip
        if same and name != "calibration":
            yield f"the {name} split says nothing of some labels: {', '.join(same)} samples"
