"""Bootstrap intervals over samples, of any metric that weights of samples can be given to (`pipeline/scoring/`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from pipeline.measuring.interval import Interval, clopper_pearson, percentile_bootstrap
from pipeline.scoring.part import Part, Weighed

_PIECE = 4_000_000  # weights that are held at once


def weights(samples: int, resamples: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Yield float64 [samples, some of the resamples]: how often each sample was drawn, with replacement."""
    generator = np.random.default_rng(seed)
    piece = max(1, min(resamples, _PIECE // samples))
    for start in range(0, resamples, piece):
        size = min(piece, resamples - start)
        drawn = generator.integers(0, samples, size=(size, samples))
        places = drawn * size + np.arange(size)[:, None]
        yield np.bincount(places.ravel(), minlength=samples * size).reshape(samples, size).astype(np.float64)


def draws(parts: Sequence[Weighed], samples: int, resamples: int, seed: int = 0) -> list[np.ndarray]:
    """Return what each of some metrics' arithmetic gives for the same resamples, [metrics, resamples] each."""
    found = [[weighed(some) for weighed in parts] for some in weights(samples, resamples, seed)]
    return [np.concatenate(pieces, axis=1) for pieces in zip(*found, strict=True)]


def interval(value: float, drawn: np.ndarray, trials: int | None) -> Interval:
    """Return the percentile interval of a metric's draws.

    Where all of them are equal the bootstrap's interval would have no width, as if the samples proved the population. A
    metric in [0, 1] gets there the Clopper-Pearson interval of its value in `trials`.

    Args:
        drawn: [resamples]; resamples that leave the metric undefined are NaN, and left out.
        trials: as how many independent samples it counts; None for a metric that is not in [0, 1].
    """
    kept = drawn[np.isfinite(drawn)]
    if trials is not None and (kept.size == 0 or np.ptp(kept) < 1e-12):
        exact = clopper_pearson(value * trials, trials)
        return Interval(value, min(exact.low, value), max(exact.high, value))
    return percentile_bootstrap(value, kept)


def difference(
    part: Part, name: str, answers: tuple[np.ndarray, np.ndarray], wanted: np.ndarray, *, lower: bool,
    trials: int | None, resamples: int, seed: int = 0,
) -> Interval | None:  # fmt: skip
    """Return how much worse the second of two models is in a metric, with an interval of the same resamples for both.

    Where the two are equal in all resamples the bootstrap has no width. The interval of a metric in [0, 1] is then plus
    and minus the Clopper-Pearson upper limit for no disagreement in `trials`.

    Args:
        part: that has the metric of this name.
        answers: of the two models, one after the other.
        lower: whether less of it is better.

    Returns:
        None where the samples leave it undefined.
    """
    both = [part.prepare(wanted, one) for one in answers]
    place, sign = part.names.index(name), -1.0 if lower else 1.0
    once = np.ones((len(wanted), 1))
    before, after = (float(weighed(once)[place, 0]) for weighed in both)
    value = sign * (before - after)
    if not np.isfinite(value):
        return None
    first, second = draws(both, len(wanted), resamples, seed)
    drawn = sign * (first[place] - second[place])
    kept = drawn[np.isfinite(drawn)]
    if kept.size and kept.any():
        return percentile_bootstrap(value, kept)
    width = 0.0 if trials is None else clopper_pearson(0, trials).high
    return Interval(value, value - width, value + width)
