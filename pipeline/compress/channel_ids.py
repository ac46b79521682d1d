"""Which positions of which axes are the same channel: a union of sets (Tarjan, 1975), some of which must stay.

An axis of a tensor or of a weight is an array of channel ids, one for each position, or None where it counts something
else (places, time steps) or cannot change. Two positions of one id, or of united ids, are removed together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

Ids = np.ndarray
Axis = Ids | None
# of one sample: without the batch
Axes = tuple[Axis, ...]


class ChannelIds:
    """The channels of one model, and which of them are one."""

    def __init__(self) -> None:
        self._parent: list[int] = []
        self._reasons: dict[int, str] = {}

    def new(self, count: int) -> Ids:
        """Return ids of channels that are nobody else's, int64 [count]."""
        first = len(self._parent)
        self._parent.extend(range(first, first + count))
        return np.arange(first, first + count)

    def roots(self, ids: Ids) -> Ids:
        """Return the id that stands for each one's set, int64, of the same shape."""
        return np.array([self._root(int(one)) for one in ids.ravel()], dtype=np.int64).reshape(ids.shape)

    def unite(self, one: Ids, other: Ids) -> None:
        """Make channels one, position by position; the two are of one length."""
        if one is other:
            return
        for a, b in zip(one.tolist(), other.tolist(), strict=True):
            first, second = sorted((self._root(a), self._root(b)))
            if first == second:
                continue
            self._parent[second] = first
            reason = self._reasons.pop(second, "")
            if reason:
                self._reasons.setdefault(first, reason)

    def same(self, one: Axis, other: Axis, reason: str) -> Axis:
        """Return what two axes are together: united, or kept whole with this reason where one of them cannot change."""
        if one is None or other is None:
            self.keep((one, other), reason)
            return None
        self.unite(one, other)
        return one

    def keep(self, axes: Iterable[Axis], reason: str) -> None:
        """Let all channels of some axes stay; the first reason that is told is kept."""
        for ids in axes:
            if ids is not None:
                for root in {self._root(int(one)) for one in ids.ravel()}:
                    self._reasons.setdefault(root, reason)

    def reason(self, root: int) -> str:
        """Return why a set stays; empty where it need not."""
        return self._reasons.get(root, "")

    def _root(self, one: int) -> int:
        while self._parent[one] != one:
            self._parent[one] = self._parent[self._parent[one]]
            one = self._parent[one]
        return one


def joined(axes: Sequence[Axis], lengths: Sequence[int], ids: ChannelIds, reason: str) -> Axis:
    """Return axes one after the other; positions of one that cannot change become channels that stay."""
    if all(one is None for one in axes):
        return None
    parts = []
    for one, length in zip(axes, lengths, strict=True):
        if one is None:
            one = ids.new(length)
            ids.keep([one], reason)
        parts.append(one)
    return np.concatenate(parts)
