"""How well a score puts what is wanted above the rest: the area under the ROC curve, average precision, the curve."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import sparse


def roc_auc(wanted: np.ndarray, scores: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Return what gives the area under the ROC curve for weights [n, r]: [r], NaN where one side has no weight.

    The share of pairs in which the wanted sample has the higher score, ties counting half (Hanley and McNeil, 1982).

    Args:
        wanted: bool [n]. scores: float [n].
    """
    levels, level = np.unique(scores[wanted], return_inverse=True)
    # the level that a sample of the rest is just below, or ties with; above all levels it wins no pair
    place = np.searchsorted(levels, scores)
    beaten = ~wanted & (place < levels.size)
    ties = np.zeros(scores.size, bool)
    ties[beaten] = levels[place[beaten]] == scores[beaten]
    place[wanted] = level
    of_high, of_low = _gather(place, levels.size, wanted), _gather(place, levels.size, beaten)
    of_ties = _gather(place, levels.size, ties) if ties.any() else None

    def weighed(weights: np.ndarray) -> np.ndarray:
        above, under = of_high @ weights, np.cumsum(of_low @ weights, axis=0)
        if of_ties is not None:
            under -= (of_ties @ weights) / 2
        inside = above.sum(axis=0)
        pairs = inside * (weights.sum(axis=0) - inside)
        won = np.einsum("ij,ij->j", above, under)
        found: np.ndarray = np.divide(won, pairs, out=np.full(pairs.shape, np.nan), where=pairs > 0)
        return found

    return weighed


def average_precision(wanted: np.ndarray, scores: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Return what gives average precision for weights [n, r]: [r], NaN where nothing wanted has weight.

    The sum over all thresholds of the precision there times the recall that it adds; not interpolated.

    Args:
        wanted: bool [n]. scores: float [n].
    """
    levels, level = np.unique(-scores, return_inverse=True)  # the highest first
    every, hits = _gather(level, levels.size, np.ones_like(wanted)), _gather(level, levels.size, wanted)

    def weighed(weights: np.ndarray) -> np.ndarray:
        gained = hits @ weights
        total, answered = gained.sum(axis=0), np.cumsum(every @ weights, axis=0)
        precision = np.divide(np.cumsum(gained, axis=0), answered, out=np.zeros_like(answered), where=answered > 0)
        added = (gained * precision).sum(axis=0)
        found: np.ndarray = np.divide(added, total, out=np.full(total.shape, np.nan), where=total > 0)
        return found

    return weighed


def curve(wanted: np.ndarray, scores: np.ndarray, most: int = 200) -> list[tuple[float, float]]:
    """Return the ROC curve as (false positive rate, true positive rate), from (0, 0) to (1, 1).

    Args:
        wanted: bool [n], with both kinds. scores: float [n].
        most: points kept, about; between them the curve is drawn straight.
    """
    levels, level = np.unique(-scores, return_inverse=True)
    hits = np.cumsum(np.bincount(level, wanted, levels.size)) / wanted.sum()
    alarms = np.cumsum(np.bincount(level, ~wanted, levels.size)) / (~wanted).sum()
    steps = np.stack([np.concatenate([[0.0], alarms]), np.concatenate([[0.0], hits])], axis=1)
    corners = np.ones(len(steps), bool)
    corners[1:-1] = np.any(np.abs(np.diff(steps, 2, axis=0)) > 1e-12, axis=1)
    steps = steps[corners]
    kept = np.unique(np.linspace(0, len(steps) - 1, min(most, len(steps))).round().astype(int))
    return [(float(x), float(y)) for x, y in steps[kept]]


def _gather(rows: np.ndarray, count: int, kept: np.ndarray) -> sparse.csr_array:
    """Return the matrix [count, n] that adds up samples by row; those that are not kept go nowhere."""
    columns = np.flatnonzero(kept)
    return sparse.csr_array((np.ones(columns.size), (rows[columns], columns)), shape=(count, rows.size))
