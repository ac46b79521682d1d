"""How close predicted values are, with intervals: R2, mean squared and mean absolute error, loss of R2."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pipeline.measuring import checks
from pipeline.measuring.interval import Interval, percentile_bootstrap
from pipeline.scoring.values import r2

METRICS = ("r2", "mse", "mae")


def metrics(
    wanted: np.ndarray, answered: np.ndarray, *, together: bool = False, resamples: int = 1000, seed: int = 0
) -> dict[str, Interval]:
    """Return R2, mean squared and mean absolute error with 95 % percentile bootstrap intervals over samples.

    The definitions are scikit-learn's; the errors are means over all values of a sample.

    Args:
        wanted, answered: float [n, ...], n >= 2, of one shape.
        together: R2 of all values of a sample together ("variance_weighted", but an error where the values never differ
            counts too), as of the pixels of an image; else the mean of the values' own ("uniform_average").
        resamples: number of bootstrap resamples.
        seed: of the resampling; same seed, same interval.

    Returns:
        {"r2": at most 1, "mse": in squared units, "mae": in units of the values}.

    Raises:
        RunError: nothing to compare, other shapes, NaN or infinity.
    """
    truth, found = _flat(wanted, answered)
    squared, absolute = np.square(truth - found), np.abs(truth - found).mean(axis=1, keepdims=True)
    draws = np.concatenate(
        [
            np.stack(
                [
                    r2(weights, truth, squared, together=together),
                    (weights @ squared.mean(axis=1)),
                    (weights @ absolute)[:, 0],
                ],
                axis=1,
            )
            for weights in _weights(len(truth), resamples, seed)
        ]
    )
    once = np.full((1, len(truth)), 1 / len(truth))
    values = (r2(once, truth, squared, together=together)[0], squared.mean(), absolute.mean())
    return {
        name: percentile_bootstrap(float(value), draws[:, place])
        for place, (name, value) in enumerate(zip(METRICS, values, strict=True))
    }


def drop(
    wanted: np.ndarray, before: np.ndarray, after: np.ndarray, *, together: bool = False, resamples: int = 1000,
    seed: int = 0,
) -> Interval:  # fmt: skip
    """Return R2 of `before` less that of `after`, positive where it was lost; paired by samples.

    Args: as `metrics`.
    """
    truth, first = _flat(wanted, before)
    _, second = _flat(wanted, after)
    old, new = np.square(truth - first), np.square(truth - second)

    def lost(weights: np.ndarray) -> np.ndarray:
        less: np.ndarray = r2(weights, truth, old, together=together) - r2(weights, truth, new, together=together)
        return less

    draws = np.concatenate([lost(weights) for weights in _weights(len(truth), resamples, seed)])
    once = np.full((1, len(truth)), 1 / len(truth))
    return percentile_bootstrap(float(lost(once)[0]), draws)


def _flat(wanted: np.ndarray, answered: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    checks.same_shape(wanted, answered)
    found = checks.values(answered, who="the model").reshape(len(wanted), -1)
    truth = np.asarray(wanted, np.float64).reshape(len(wanted), -1)
    centre = truth.mean(axis=0)  # so that values far from zero keep their differences when they are squared
    return truth - centre, found - centre


def _weights(samples: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Yield float64 [some resamples, samples]: how often each sample was drawn, over their number; in small pieces."""
    generator = np.random.default_rng(seed)
    piece = max(1, min(resamples, 2_000_000 // samples))
    for start in range(0, resamples, piece):
        drawn = generator.multinomial(samples, np.full(samples, 1 / samples), size=min(piece, resamples - start))
        yield drawn / samples
