from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from pipeline.data.split import NAMES, Fold, SplitConfig, split
from pipeline.errors import InputError

SHARES = SplitConfig().shares()
LABELS = np.random.default_rng(0).integers(0, 7, 997)


def test_splits_are_disjoint_and_cover_every_sample() -> None:
    parts = split(LABELS, SHARES, seed=0)
    assert sorted(np.concatenate(list(parts.values()))) == list(range(len(LABELS)))
    assert tuple(parts) == NAMES


def test_splits_hold_each_class_in_proportion() -> None:
    parts = split(LABELS, SHARES, seed=0)
    for label in range(7):
        count = (label == LABELS).sum()
        for name, share in SHARES.items():
            assert abs((LABELS[parts[name]] == label).sum() - share * count) < 2


def test_sizes_of_splits_are_their_shares_within_one_sample() -> None:
    parts = split(LABELS, SHARES, seed=0)
    for name, share in SHARES.items():
        assert abs(len(parts[name]) - share * len(LABELS)) <= 1


def test_splits_depend_on_the_seed_alone() -> None:
    once, again, other = (split(LABELS, SHARES, seed=seed) for seed in (3, 3, 4))
    assert all(np.array_equal(once[name], again[name]) for name in NAMES)
    assert not np.array_equal(once["test"], other["test"])


def test_own_test_split_is_kept_and_the_rest_shared_in_proportion() -> None:
    own = np.arange(900, 997)
    parts = split(LABELS, SHARES, seed=0, given={"test": own})
    assert np.array_equal(parts["test"], own)
    assert [len(parts[name]) for name in NAMES] == pytest.approx([675, 168.75, 56.25, 97], abs=1)
    assert sorted(np.concatenate(list(parts.values()))) == list(range(len(LABELS)))


def test_every_split_has_a_sample_of_a_rare_class() -> None:
    labels = np.array([0] * 100 + [1] * 4)
    parts = split(labels, SHARES, seed=0)
    assert [(labels[parts[name]] == 1).sum() for name in NAMES] == [1, 1, 1, 1]


def test_split_is_refused_with_counts_when_a_class_is_too_small() -> None:
    with pytest.raises(InputError, match="too few samples") as refused:
        split(np.array([0] * 50 + [1] * 3 + [2]), SHARES, seed=0)
    assert refused.value.found == "class 1: 3, class 2: 1"
    assert refused.value.expected == "at least 4 samples of each class, one for each split"


def test_split_is_refused_when_there_are_no_samples() -> None:
    with pytest.raises(InputError, match="there are no samples to split"):
        split(np.array([], np.int64), SHARES, seed=0)


def test_shares_are_refused_with_their_sum_when_it_is_not_one() -> None:
    with pytest.raises(ValidationError, match=r"must sum to 1, but train 0.7 \+ validation 0.15 .* = 1.1"):
        SplitConfig(train=0.7)


@pytest.mark.parametrize("share", [0.0, -0.1, 1.0, float("nan")])
def test_shares_are_refused_when_one_is_out_of_range(share: float) -> None:
    with pytest.raises(ValidationError, match="calibration"):
        SplitConfig(calibration=share)


def _groups(count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return groups and labels [count * size], mixed: a group's samples are of one class."""
    mixed = np.random.default_rng(1).permutation(np.repeat(np.arange(count), size))
    return mixed, mixed % 3


def test_groups_stay_together_and_classes_keep_their_shares() -> None:
    groups, labels = _groups(200, 5)
    parts = split(labels, SHARES, seed=0, groups=groups)
    assert sorted(np.concatenate(list(parts.values()))) == list(range(1000))
    homes = [set(groups[parts[name]]) for name in NAMES]
    assert sum(map(len, homes)) == 200
    for name, share in SHARES.items():
        assert len(parts[name]) == pytest.approx(1000 * share, abs=15)
        assert np.bincount(labels[parts[name]], minlength=3) / len(parts[name]) == pytest.approx([1 / 3] * 3, abs=0.1)


def test_a_group_that_is_a_third_of_all_goes_where_there_is_room() -> None:
    groups = np.array([0] * 100 + list(range(1, 201)))
    parts = split(np.zeros(300, np.int64), SHARES, seed=0, groups=groups)
    assert set(range(100)) <= set(parts["train"])
    assert len(parts["calibration"]) == pytest.approx(15, abs=2)


def test_samples_of_a_given_splits_groups_are_in_no_other() -> None:
    groups, labels = _groups(100, 4)
    own = np.flatnonzero(groups < 10)[::2]
    parts = split(labels, SHARES, seed=0, given={"test": own}, groups=groups)
    assert np.array_equal(parts["test"], own)
    others = np.concatenate([parts[name] for name in NAMES if name != "test"])
    assert not set(groups[others]) & set(groups[own])
    assert len(others) == 400 - 4 * len(set(groups[own]))


def test_too_few_groups_are_refused() -> None:
    with pytest.raises(InputError, match="too few groups") as refused:
        split(np.zeros(30, np.int64), SHARES, seed=0, groups=np.arange(30) % 3)
    assert (refused.value.expected, refused.value.found) == ("at least 4, one for each split", "3")


@pytest.mark.parametrize("grouped", [False, True], ids=["samples", "groups"])
def test_folds_are_disjoint_and_together_all_samples(grouped: bool) -> None:
    groups, labels = _groups(100, 4)
    found = [
        split(labels, SHARES, seed=0, groups=groups if grouped else None, fold=Fold(index=index, of=5))
        for index in range(5)
    ]
    assert sorted(np.concatenate([parts["test"] for parts in found])) == list(range(400))
    for parts in found:
        assert len(parts["test"]) == pytest.approx(80, abs=4)
        assert sorted(np.concatenate(list(parts.values()))) == list(range(400))
        assert len(parts["train"]) / len(parts["validation"]) == pytest.approx(4, abs=0.5)
        if grouped:
            assert not set(groups[parts["test"]]) & set(groups[parts["train"]])


def test_a_test_split_of_the_sources_own_stays_out_of_folds() -> None:
    own = np.arange(900, 997)
    parts = split(LABELS, SHARES, seed=0, given={"test": own}, fold=Fold(index=1, of=3))
    assert sorted(np.concatenate(list(parts.values()))) == list(range(900))


def test_a_validation_split_of_the_sources_own_is_kept_in_folds() -> None:
    own = np.arange(900, 997)
    parts = split(LABELS, SHARES, seed=0, given={"validation": own}, fold=Fold(index=1, of=3))
    assert np.array_equal(parts["validation"], own)
    assert sorted(np.concatenate(list(parts.values()))) == list(range(997))


def test_a_fold_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"index must be less than of \(3\)"):
        Fold(index=3, of=3)


def test_an_empty_split_is_refused_with_the_sizes_of_all() -> None:
    with pytest.raises(InputError, match="the test split is empty") as refused:
        split(LABELS, SHARES, seed=0, given={"test": np.zeros(0, np.int64)})
    assert refused.value.found.endswith("test 0")
