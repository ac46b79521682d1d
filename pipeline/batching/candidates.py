"""The batching parameters that are worth a try, by what the model's own batches cost and by the bound."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, zip_longest

from serving.config import BatchingConfig

_SIZES = (2, 4, 8, 16, 32, 64)
# of the bound: how long a batch may wait for more requests
_WAITS = (0.0, 0.05, 0.2)
# a batch twice as large that costs less than this much less per sample is larger for nothing
_WORTH = 0.05
_MOST_ENQUEUED = 100


@dataclass(frozen=True)
class Scaling:
    """What requests cost by their number of samples, one at a time: (samples, seconds), both rising, two or more."""

    seconds: tuple[tuple[int, float], ...]

    def at(self, samples: int) -> float:
        """Return the seconds of a batch: between the measured ones, or as they go on, in straight lines."""
        pairs = list(pairwise(self.seconds))
        (left, low), (right, high) = next((pair for pair in pairs if samples <= pair[1][0]), pairs[-1])
        return max(low + (high - low) * (samples - left) / (right - left), 1e-9)

    def gain(self, samples: int) -> float:
        """Return how many times the samples a second of single requests a batch gives."""
        return samples * self.at(1) / self.at(samples)


@dataclass(frozen=True)
class Candidate:
    """Parameters that are tried; `batching` None: without batching."""

    batching: BatchingConfig | None

    @property
    def name(self) -> str:
        """Size x threads, wait, batches that may wait and sizes it pads to, such as "16 x 1, 2000 us, queue 4"."""
        if self.batching is None:
            return "no batching"
        one = self.batching
        padded = f", padded to {'/'.join(map(str, one.allowed_batch_sizes))}" if one.allowed_batch_sizes else ""
        return (
            f"{one.max_batch_size} x {one.num_batch_threads}, {one.batch_timeout_micros} us, "
            f"queue {one.max_enqueued_batches}{padded}"
        )


NONE = Candidate(None)


def worth_a_try(
    scaling: Scaling, bound_s: float, rate_per_s: float | None, *, cores: int, at_once: int, most: int
) -> tuple[list[Candidate], list[str]]:
    """Return the candidates beside no batching, and in words what was left out.

    Left out is what cannot meet the bound or the rate whatever happens: a batch that alone takes longer than the bound,
    wait included; threads that with full batches all the time would not keep up; and batches larger than the number of
    requests that the server takes at once, which never fill. Of the rest each wait and number of threads has its most
    promising size first.

    Args:
        scaling: of single requests behind a server without batching.
        bound_s: of the p99.
        rate_per_s: of the arrivals; None: as many as possible.
        cores: that the server has.
        at_once: requests that the server takes at the same time; it refuses others, of whatever batch.
        most: candidates at most.
    """
    why: dict[str, list[int]] = {}
    sizes: list[int] = []
    for size in _SIZES:
        if size > at_once:
            why.setdefault(f"never fill: the server takes {at_once} requests at once", []).append(size)
        elif scaling.at(size) > bound_s:
            why.setdefault(f"take longer than the bound of {bound_s * 1e3:g} ms", []).append(size)
        elif sizes and scaling.gain(size) < scaling.gain(sizes[-1]) * (1 + _WORTH):
            why.setdefault(f"cost as much per sample as those of {sizes[-1]}", []).append(size)
        else:
            sizes.append(size)
    slow: list[int] = []
    lines: list[list[Candidate]] = []
    for wait in _WAITS:
        for threads in sorted({1, cores}, reverse=True):
            able = [size for size in sizes if wait * bound_s + scaling.at(size) <= bound_s]
            fast = [size for size in able if rate_per_s is None or threads * size / scaling.at(size) >= rate_per_s]
            slow += [size for size in able if size not in fast]
            fast.sort(key=lambda size: (-_promise(scaling, bound_s * (1 - wait), size), size))
            lines.append([_made(scaling, bound_s, size, wait * bound_s, threads) for size in fast])
    if slow:
        why[f"cannot keep up with {rate_per_s:g}/s"] = sorted(set(slow))
    found = [one for tier in zip_longest(*lines) for one in tier if one is not None]
    words = [f"batches of {', '.join(map(str, left_out))} {reason}" for reason, left_out in why.items()]
    if len(found) > most:
        words.append(f"{len(found) - most} more combinations of size, wait and threads that promise less")
    return found[:most], words


def _promise(scaling: Scaling, left_s: float, size: int) -> float:
    """Return the samples a second of the largest batches that still meet the bound.

    A request may come when a batch has just begun: it waits for that one, and then for its own.
    """
    fits = next((n for n in range(size, 1, -1) if 2 * scaling.at(n) <= left_s), 1)
    return fits / scaling.at(fits)


def _made(scaling: Scaling, bound_s: float, size: int, wait_s: float, threads: int) -> Candidate:
    # what would come too late anyway is better refused: batches that could still begin in time
    queue = int(threads * (bound_s - scaling.at(size)) / scaling.at(size) + 1e-9)
    return Candidate(
        BatchingConfig(
            max_batch_size=size, batch_timeout_micros=round(wait_s * 1e6), num_batch_threads=threads,
            max_enqueued_batches=min(max(queue, 1), _MOST_ENQUEUED),
        )
    )  # fmt: skip


def padded(one: Candidate) -> Iterator[Candidate]:
    """Yield the candidate with batches padded to few sizes: kernels and memory that are the same again and again."""
    if one.batching is None or one.batching.max_batch_size is None or one.batching.allowed_batch_sizes:
        return
    sizes = powers(one.batching.max_batch_size)
    yield Candidate(one.batching.model_copy(update={"allowed_batch_sizes": sizes}))


def powers(largest: int) -> tuple[int, ...]:
    """Return 1, 2, 4, ... up to a size, itself included."""
    return (*(2**n for n in range(largest.bit_length()) if 2**n < largest), largest)
