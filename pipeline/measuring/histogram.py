"""A compact histogram of latencies: log-spaced buckets on one fixed grid, so that any two can be added."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

BUCKETS_PER_OCTAVE = 16  # neighbouring edges differ by 4.4 %


@dataclass(frozen=True)
class Histogram:
    """Counts per bucket; bucket i holds latencies in [2 ** (i / 16), 2 ** ((i + 1) / 16)) nanoseconds.

    Attributes:
        counts: (bucket, count > 0) in rising order of the bucket.
    """

    counts: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, latencies_ns: np.ndarray) -> Histogram:
        """Count latencies, int [n] in nanoseconds; what is under 1 ns counts as 1 ns."""
        logs = np.log2(np.maximum(np.asarray(latencies_ns, dtype=np.float64), 1.0))
        buckets, counts = np.unique(np.floor(logs * BUCKETS_PER_OCTAVE).astype(np.int64), return_counts=True)
        return cls(tuple(zip(buckets.tolist(), counts.tolist(), strict=True)))

    def merge(self, other: Histogram) -> Histogram:
        """Return the histogram of both sets of latencies."""
        total = dict(self.counts)
        for bucket, count in other.counts:
            total[bucket] = total.get(bucket, 0) + count
        return Histogram(tuple(sorted(total.items())))

    def edges_ms(self, bucket: int) -> tuple[float, float]:
        """Return a bucket's lower and upper edge in milliseconds."""
        low, high = (2.0 ** ((bucket + i) / BUCKETS_PER_OCTAVE) / 1e6 for i in (0, 1))
        return low, high

    def to_dict(self) -> dict[str, object]:
        """Return a form for JSON that names its own grid."""
        return {"unit": "ns", "buckets_per_octave": BUCKETS_PER_OCTAVE, "counts": {str(b): n for b, n in self.counts}}

    @classmethod
    def from_dict(cls, form: Mapping[str, object]) -> Histogram:
        """Return what `to_dict` was made from.

        Raises:
            ValueError: the form has another grid.
        """
        counts = form.get("counts")
        if form.get("buckets_per_octave") != BUCKETS_PER_OCTAVE or not isinstance(counts, Mapping):
            raise ValueError(f"expected a histogram with {BUCKETS_PER_OCTAVE} buckets per octave, found {dict(form)}")
        return cls(tuple(sorted((int(bucket), int(count)) for bucket, count in counts.items())))
