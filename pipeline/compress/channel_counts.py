"""What a model consists of at other widths: sums of products of widths, fast enough to search with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Widths = Mapping[str, int]


@dataclass(frozen=True)
class Size:
    """How many positions an axis has.

    Attributes:
        fixed: those that stay.
        channels: (group, positions in the axis for each of its channels).
    """

    fixed: int
    channels: tuple[tuple[str, int], ...] = ()

    def at(self, widths: Widths) -> int:
        """Return the number of positions where each group that stands in it keeps so many channels."""
        return self.fixed + sum(each * widths[group] for group, each in self.channels)


@dataclass(frozen=True)
class Product:
    """A number of weights or operations: a factor times the lengths of some axes."""

    factor: float
    sizes: tuple[Size, ...]


class Count:
    """A sum of products, as a function of the groups' widths; a group that is not named keeps all."""

    def __init__(self, products: Sequence[Product], full: Widths) -> None:
        self._place = {name: place for place, name in enumerate(full)}
        self._full = np.array(list(full.values()), dtype=np.float64)
        distinct = list(dict.fromkeys(size for product in products for size in product.sizes))
        row = {size: place for place, size in enumerate(distinct)}
        self._each = np.zeros((len(distinct) + 1, len(full)))
        self._fixed = np.ones(len(distinct) + 1)  # the last is 1, for products of fewer sizes
        for place, size in enumerate(distinct):
            self._fixed[place] = size.fixed
            for name, each in size.channels:
                self._each[place, self._place[name]] = each
        most = max((len(product.sizes) for product in products), default=0)
        rows = [[row[size] for size in product.sizes] for product in products]
        self._rows = np.array([[*some, *[len(distinct)] * (most - len(some))] for some in rows], dtype=np.int64)
        self._factors = np.array([product.factor for product in products])

    def __call__(self, widths: Widths) -> float:
        """Return the sum at these widths."""
        if not self._factors.size:
            return 0.0
        kept = self._full.copy()
        for name, width in widths.items():
            kept[self._place[name]] = width
        lengths = self._each @ kept + self._fixed
        return float(self._factors @ lengths[self._rows].prod(axis=1))
