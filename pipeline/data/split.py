"""Stratified, disjoint splits: positions of samples, from labels, shares and a seed. No files, no TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, get_args

from pydantic import Field, model_validator

from pipeline.config import Frozen
from pipeline.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from pipeline.data.sources.source import Given

Name = Literal["train", "validation", "calibration", "test"]
NAMES: tuple[Name, ...] = get_args(Name)


class SplitConfig(Frozen):
    """Shares of the samples, each more than 0, together 1.

    Where a source has splits of its own, these are kept and the others share the rest in proportion.
    """

    train: float = Field(default=0.60, gt=0, lt=1, description="share that weights are learned from")
    validation: float = Field(default=0.15, gt=0, lt=1, description="share that chooses epochs and settings")
    calibration: float = Field(default=0.05, gt=0, lt=1, description="share that sets ranges of int8 files")
    test: float = Field(default=0.20, gt=0, lt=1, description="share that is only measured on")

    @model_validator(mode="after")
    def _sum_to_one(self) -> SplitConfig:
        total = math.fsum(self.shares().values())
        if not math.isclose(total, 1.0, abs_tol=1e-6):
            parts = " + ".join(f"{name} {share:g}" for name, share in self.shares().items())
            raise ValueError(f"the shares of the splits must sum to 1, but {parts} = {total:g}")
        return self

    def shares(self) -> dict[Name, float]:
        """Return the four shares in their order."""
        return {name: getattr(self, name) for name in NAMES}


def split(
    labels: np.ndarray, shares: Mapping[Name, float], seed: int, given: Mapping[Given, np.ndarray] | None = None
) -> dict[Name, np.ndarray]:
    """Return the positions of each split's samples, in ascending order.

    Args:
        labels: integers [n].
        shares: of the four splits, together 1.
        seed: decides which samples go where.
        given: positions of the splits that are kept as they are; the others share the rest in proportion.

    Raises:
        InputError: a class has fewer samples than there are splits to fill.
    """
    import numpy as np

    kept = dict(given or {})
    rest = np.arange(len(labels))
    if kept:
        rest = np.setdiff1d(rest, np.concatenate(list(kept.values())))
    open_shares = {name: share for name, share in shares.items() if name not in kept}
    whole = sum(open_shares.values()) if kept else 1.0
    parts = stratify(labels, rest, {name: share / whole for name, share in open_shares.items()}, seed)
    parts.update((name, np.sort(positions)) for name, positions in kept.items())
    return {name: parts[name] for name in NAMES}


def stratify(
    labels: np.ndarray, positions: np.ndarray, shares: Mapping[Name, float], seed: int
) -> dict[Name, np.ndarray]:
    """Deal `positions` out, class by class, so that each split gets its share of each class and at least one sample.

    What a class leaves over after rounding down goes to the splits that are furthest behind so far; so the sizes of
    the splits come out right too.
    """
    import numpy as np

    wanted = np.array(list(shares.values()))
    random = np.random.default_rng(seed)
    classes, counts = np.unique(labels[positions], return_counts=True)
    _check(classes, counts, len(wanted))
    dealt: list[list[np.ndarray]] = [[] for _ in wanted]
    given = np.zeros(len(wanted), dtype=np.int64)
    for label, count, seen in zip(classes, counts, np.cumsum(counts), strict=True):
        sizes = np.maximum(1, np.floor(count * wanted + 1e-9).astype(np.int64))
        while sizes.sum() > count:
            sizes[np.argmax(sizes)] -= 1
        behind = np.argsort(given + sizes - seen * wanted, kind="stable")
        sizes[behind[: count - sizes.sum()]] += 1
        given += sizes
        members = random.permutation(positions[labels[positions] == label])
        for part, chosen in zip(dealt, np.split(members, np.cumsum(sizes)[:-1]), strict=True):
            part.append(chosen)
    return {name: np.sort(np.concatenate(part)) for name, part in zip(shares, dealt, strict=True)}


def _check(classes: np.ndarray, counts: np.ndarray, splits: int) -> None:
    few = [f"class {label}: {count}" for label, count in zip(classes, counts, strict=True) if count < splits]
    if few or len(classes) == 0:
        raise InputError(
            "some classes have too few samples for stratified splits" if few else "there are no samples to split",
            expected=f"at least {splits} samples of each class, one for each split",
            found=", ".join(few) or "0 samples",
            todo="add samples of these classes, or leave the classes out of the data",
        )
