"""Precision, recall and F1 of classes or labels, from how often each was wanted, answered and both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

AVERAGES = ("precision", "recall", "f1", "precision_weighted", "recall_weighted", "f1_weighted")


@dataclass(frozen=True)
class Counts:
    """How often each class counts, float64 [classes, r] each.

    Attributes:
        wanted: samples that have it.
        answered: samples that were answered with it.
        hits: both.
    """

    wanted: np.ndarray
    answered: np.ndarray
    hits: np.ndarray

    def shares(self) -> dict[str, np.ndarray]:
        """Return precision, recall and F1 of each class, [classes, r]: 0 where nothing was answered or wanted."""
        return {
            "precision": _share(self.hits, self.answered), "recall": _share(self.hits, self.wanted),
            "f1": _share(2 * self.hits, self.wanted + self.answered),
        }  # fmt: skip

    def averages(self, *, absent: bool) -> np.ndarray:
        """Return AVERAGES, [6, r]: macro ones over the classes, and those weighted by how often each was wanted.

        Args:
            absent: whether classes that are neither wanted nor answered count (as 0), as scikit-learn has it for
                labels; of classes they do not.
        """
        occurs = np.ones_like(self.hits) if absent else (self.wanted + self.answered > 0).astype(np.float64)
        shares = self.shares()
        macro = [(shares[name] * occurs).sum(axis=0) / np.maximum(occurs.sum(axis=0), 1) for name in shares]
        weighted = [_share((shares[name] * self.wanted).sum(axis=0), self.wanted.sum(axis=0)) for name in shares]
        return np.stack([*macro, *weighted])

    def of_one(self, places: Sequence[int]) -> np.ndarray:
        """Return precision, recall and F1 of some classes one after another, [3 * places, r].

        NaN where a class was not wanted: nothing is known of it then.
        """
        chosen = list(places)
        there = self.wanted[chosen] > 0
        each = [np.where(there, share[chosen], np.nan) for share in self.shares().values()]
        found: np.ndarray = np.stack(each, axis=1).reshape(3 * len(chosen), self.hits.shape[1])
        return found


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.divide(part, whole, out=np.zeros(np.shape(part)), where=whole > 0)
    return found
