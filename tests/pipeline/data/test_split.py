from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from pipeline.data.split import NAMES, SplitConfig, split
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
