from __future__ import annotations

import numpy as np
import pytest

from pipeline.data import DataConfig, same
from pipeline.data.divide import divide
from pipeline.data.sources.source import Source, Target
from pipeline.data.split import NAMES, SplitConfig
from pipeline.errors import InputError


def _source(**more: object) -> Source:
    """100 samples, of which the last ten repeat the first ten, five of them with another label."""
    x = np.random.default_rng(0).integers(0, 255, (100, 4, 4, 1), np.uint8)
    x[90:] = x[:10]
    y = np.arange(100) % 2
    y[95:] = 1 - y[5:10]
    return Source({"image": x}, {"": Target(y, ("a", "b"))}, **more)  # type: ignore[arg-type]


def test_equal_samples_have_one_number() -> None:
    found = same.groups(_source().x)
    assert np.array_equal(found[90:], found[:10])
    assert len(set(found)) == 90


def test_where_one_input_ends_counts() -> None:
    found = same.groups({"left": np.array(["ab", "a"], dtype=object), "right": np.array(["c", "bc"], dtype=object)})
    assert found[0] != found[1]


def test_texts_are_equal_whatever_their_case_and_spaces() -> None:
    found = same.groups({"text": np.array(["Win NOW", "win  now ", "win later"], dtype=object)})
    assert found[0] == found[1] != found[2]


def test_samples_of_the_test_split_that_training_has_are_told_with_counts() -> None:
    source = _source(given={"test": np.arange(90, 100)})
    told = divide(source, DataConfig(split=SplitConfig(train=0.94, validation=0.02, calibration=0.02, test=0.02)),
                  look=True).notes  # fmt: skip
    (leak,) = [note for note in told if "training split too" in note]
    assert "of 10 test samples" in leak
    assert "of them with another answer" in leak
    assert "data.split.by=content keeps equal samples together" in leak
    assert not [note for note in divide(source, DataConfig()).notes if "too" in note]  # looked for only when asked


def test_split_by_content_keeps_equal_samples_together() -> None:
    splits = divide(_source(), DataConfig(split=SplitConfig(by="content")), look=True)
    assert not [note for note in splits.notes if "training split too" in note]
    assert sum(len(getattr(splits, name)) for name in NAMES) == 100


def test_twins_of_a_split_that_is_kept_are_left_out_and_that_is_told() -> None:
    splits = divide(_source(given={"test": np.arange(90, 100)}), DataConfig(split=SplitConfig(by="content")))
    assert sum(len(getattr(splits, name)) for name in NAMES) == 90
    assert "10 samples are left out: they are equal to some of a split that the data comes with" in splits.notes


def test_split_by_groups_needs_groups() -> None:
    with pytest.raises(InputError, match=r"data\.split\.by is group, and the data has no groups"):
        divide(_source(), DataConfig(split=SplitConfig(by="group")))
    splits = divide(_source(groups=np.arange(100) // 5), DataConfig(split=SplitConfig(by="group")))
    assert sum(len(getattr(splits, name)) for name in NAMES) == 100
