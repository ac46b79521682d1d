"""Disjoint splits: positions of samples, from labels, groups, shares and a seed. No files, no TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, TypeVar, get_args

from pydantic import Field, model_validator

from pipeline.config import Frozen
from pipeline.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from pipeline.data.sources.source import Given

Name = Literal["train", "validation", "calibration", "test"]
NAMES: tuple[Name, ...] = get_args(Name)
By = Literal["stratified", "random", "group", "content"]

N = TypeVar("N", str, Name, Literal["train", "validation", "calibration"])


class Fold(Frozen):
    """One part of a cross-validation: this fold is the test split, the others are divided in their shares.

    A validation split of the source's own stays what it is, and a test split of its own stays out.
    """

    index: int = Field(ge=0, description="which of the folds, counted from 0")
    of: int = Field(ge=2, le=100, description="how many folds there are")

    @model_validator(mode="after")
    def _is_one_of_them(self) -> Fold:
        if self.index >= self.of:
            raise ValueError(f"index must be less than of ({self.of}), because it counts from 0, but is {self.index}")
        return self


class SplitConfig(Frozen):
    """Shares of the samples, each more than 0, together 1, and what stays together.

    Where a source has splits of its own, these are kept and the others share the rest in proportion.
    """

    train: float = Field(default=0.60, gt=0, lt=1, description="share that weights are learned from")
    validation: float = Field(default=0.15, gt=0, lt=1, description="share that chooses epochs and settings")
    calibration: float = Field(default=0.05, gt=0, lt=1, description="share that sets ranges of int8 files")
    test: float = Field(default=0.20, gt=0, lt=1, description="share that is only measured on")
    by: By = Field(
        default="stratified",
        description="stratified: each split has each class in its share; random: whatever comes; group: the data "
        "source's groups (a patient, a user) stay together; content: equal samples stay together, texts whatever "
        "their case and spaces. The last two keep the classes' shares as far as they can",
    )
    fold: Fold | None = Field(
        default=None,
        description="{index, of}: that part is the test split, as `modelmill cv` sets it; a test split of the source's "
        "own stays out. null: no cross-validation",
    )

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
    labels: np.ndarray, shares: Mapping[Name, float], seed: int, given: Mapping[Given, np.ndarray] | None = None,
    groups: np.ndarray | None = None, fold: Fold | None = None,
) -> dict[Name, np.ndarray]:  # fmt: skip
    """Return the positions of each split's samples, in ascending order.

    Args:
        labels: integers [n], the classes whose shares are kept.
        shares: of the four splits, together 1.
        seed: decides which samples go where.
        given: positions of the splits that are kept as they are; the others share the rest in proportion. Samples
            whose group is in one of them are in no other.
        groups: integers [n], what stays together; None: each sample is on its own.
        fold: of a cross-validation, which takes the place of the test split.

    Raises:
        InputError: a class has fewer samples, or there are fewer groups, than there are splits to fill.
    """
    import numpy as np

    kept: dict[Name, np.ndarray] = dict((given or {}).items())
    rest = np.arange(len(labels))
    for positions in kept.values():
        rest = _without(rest, positions, groups)
    if fold is not None:
        folds = [str(place) for place in range(fold.of)]
        parts = _dealt(labels, rest, dict.fromkeys(folds, 1 / fold.of), seed, groups)
        kept["test"] = parts[folds[fold.index]]
        rest = np.setdiff1d(rest, kept["test"])
    wanted = {name: share for name, share in shares.items() if name not in kept}
    whole = sum(wanted.values()) if kept else 1.0
    found = _dealt(labels, rest, {name: share / whole for name, share in wanted.items()}, seed, groups)
    found.update((name, np.sort(positions)) for name, positions in kept.items())
    if empty := [name for name in NAMES if len(found[name]) == 0]:
        raise InputError(
            f"the {' and '.join(empty)} split is empty", expected="at least one sample in each split",
            found=", ".join(f"{name} {len(found[name])}" for name in NAMES),
            todo="add data, or change the shares in data.split",
        )  # fmt: skip
    return {name: found[name] for name in NAMES}


def _without(positions: np.ndarray, taken: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
    """Return the positions that are not taken, nor of a group of which something is taken."""
    import numpy as np

    rest = np.setdiff1d(positions, taken)
    return rest if groups is None else rest[~np.isin(groups[rest], groups[taken])]


def _dealt(
    labels: np.ndarray, positions: np.ndarray, shares: Mapping[N, float], seed: int, groups: np.ndarray | None
) -> dict[N, np.ndarray]:
    if groups is None:
        return stratify(labels, positions, shares, seed)
    return together(labels, positions, shares, seed, groups)


def stratify(labels: np.ndarray, positions: np.ndarray, shares: Mapping[N, float], seed: int) -> dict[N, np.ndarray]:
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


def together(
    labels: np.ndarray, positions: np.ndarray, shares: Mapping[N, float], seed: int, groups: np.ndarray
) -> dict[N, np.ndarray]:
    """Deal whole groups out, the largest first, each to the split that will then still lack most of its classes.

    The shares hold as far as the groups allow; a class may be missing in a split where it is in few groups.
    """
    import numpy as np

    kinds, of = np.unique(groups[positions], return_inverse=True)
    if len(kinds) < len(shares):
        raise InputError(
            "there are too few groups to keep them together", expected=f"at least {len(shares)}, one for each split",
            found=str(len(kinds)), todo="another data.split.by",
        )  # fmt: skip
    classes, labelled = np.unique(labels[positions], return_inverse=True)
    counts = np.zeros((len(kinds), len(classes)), np.int64)
    np.add.at(counts, (of, labelled), 1)
    wanted = np.outer(list(shares.values()), counts.sum(axis=0))
    lacking = wanted.copy()
    shuffled = np.random.default_rng(seed).permutation(len(kinds))
    order = shuffled[np.argsort(-counts[shuffled].sum(axis=1), kind="stable")]
    place = np.zeros(len(kinds), np.int64)
    for group in order:
        left = lacking - counts[group]
        # of its classes, and of samples at all
        place[group] = np.argmax(
            (left / wanted) @ counts[group] / counts[group].sum() + left.sum(axis=1) / wanted.sum(axis=1)
        )
        lacking[place[group]] = left[place[group]]
    return {name: positions[place[of] == part] for part, name in enumerate(shares)}


def _check(classes: Sequence[int] | np.ndarray, counts: np.ndarray, splits: int) -> None:
    few = [f"class {label}: {count}" for label, count in zip(classes, counts, strict=True) if count < splits]
    if few or len(classes) == 0:
        raise InputError(
            "some classes have too few samples for stratified splits" if few else "there are no samples to split",
            expected=f"at least {splits} samples of each class, one for each split",
            found=", ".join(few) or "0 samples",
            todo="add samples of these classes, or leave the classes out of the data; or data.split.by=random",
        )
