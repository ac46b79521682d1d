"""Sets of channels that go together, united by hand, and the reasons why some stay."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.compress.channel_ids import ChannelIds as Channels
from pipeline.compress.channel_ids import Ids, joined


def _reasons(ids: Channels, some: Ids) -> list[str]:
    return [ids.reason(int(root)) for root in ids.roots(some)]


def test_new_channels_are_nobody_elses() -> None:
    ids = Channels()
    one, other = ids.new(3), ids.new(2)
    assert one.dtype == np.int64
    assert (one.tolist(), other.tolist()) == ([0, 1, 2], [3, 4])
    assert np.array_equal(ids.roots(np.concatenate([one, other])), np.arange(5))
    assert len(ids.new(0)) == 0


def test_channels_are_united_position_by_position() -> None:
    ids = Channels()
    one, other = ids.new(3), ids.new(3)
    ids.unite(other, one[[2, 0, 1]])
    assert ids.roots(other).tolist() == [2, 0, 1]
    assert ids.roots(one).tolist() == [0, 1, 2]


def test_union_reaches_what_was_united_before() -> None:
    ids = Channels()
    one, two, three, four = (ids.new(1) for _ in range(4))
    ids.unite(one, two)
    ids.unite(three, four)
    assert ids.roots(four).tolist() == [2]
    ids.unite(two, four)
    assert ids.roots(np.array([0, 1, 2, 3])).tolist() == [0, 0, 0, 0]


def test_position_that_comes_several_times_is_united_with_all_beside_it() -> None:
    ids = Channels()
    one, other = ids.new(2), ids.new(4)
    ids.unite(np.repeat(one, 2), other)
    assert ids.roots(other).tolist() == [0, 0, 1, 1]


def test_roots_have_the_shape_that_was_asked_for() -> None:
    ids = Channels()
    assert ids.roots(ids.new(6).reshape(2, 3)).shape == (2, 3)


def test_axes_of_different_lengths_are_not_united() -> None:
    ids = Channels()
    with pytest.raises(ValueError, match="zip"):
        ids.unite(ids.new(2), ids.new(3))


@pytest.mark.parametrize("kept", [0, 1])
def test_reason_holds_for_all_that_are_united_whichever_of_them_had_it(kept: int) -> None:
    ids = Channels()
    pair = ids.new(2), ids.new(2)
    ids.keep([pair[kept][:1]], "it has to stay")
    ids.unite(*pair)
    assert [_reasons(ids, one) for one in pair] == [["it has to stay", ""]] * 2


def test_reason_that_is_told_later_holds_for_all_that_were_united_before() -> None:
    ids = Channels()
    one, other = ids.new(2), ids.new(2)
    ids.unite(one, other)
    ids.keep([None, other[1:]], "it has to stay")
    assert _reasons(ids, one) == ["", "it has to stay"]


def test_first_of_several_reasons_is_kept() -> None:
    ids = Channels()
    one, other = ids.new(1), ids.new(1)
    ids.keep([one], "first")
    ids.keep([one], "second")
    ids.keep([other], "third")
    ids.unite(other, one)
    assert _reasons(ids, one) == _reasons(ids, other) == ["first"]


def test_reasons_survive_a_chain_of_unions() -> None:
    ids = Channels()
    some = [ids.new(1) for _ in range(5)]
    ids.keep([some[4]], "the last stays")
    for one, other in zip(reversed(some[:-1]), reversed(some[1:]), strict=True):
        ids.unite(one, other)
    assert _reasons(ids, np.concatenate(some)) == ["the last stays"] * 5


def test_axes_that_both_change_are_the_same_channels() -> None:
    ids = Channels()
    one, other = ids.new(2), ids.new(2)
    assert ids.same(one, other, "not told") is one
    assert ids.roots(other).tolist() == [0, 1]
    assert _reasons(ids, other) == ["", ""]


@pytest.mark.parametrize("turned", [False, True])
def test_axis_beside_one_that_cannot_change_stays_with_the_reason(turned: bool) -> None:
    ids = Channels()
    one = ids.new(2)
    assert (ids.same(None, one, "beside an input") if turned else ids.same(one, None, "beside an input")) is None
    assert _reasons(ids, one) == ["beside an input"] * 2


def test_axes_that_both_cannot_change_have_no_channels() -> None:
    assert Channels().same(None, None, "not told") is None


def test_joined_axes_follow_each_other_in_their_order() -> None:
    ids = Channels()
    one, other = ids.new(2), ids.new(1)
    found = joined([other, one], [1, 2], ids, "not told")
    assert found is not None
    assert found.tolist() == [2, 0, 1]
    assert _reasons(ids, found) == [""] * 3


def test_joined_axis_that_cannot_change_becomes_channels_that_stay() -> None:
    ids = Channels()
    one = ids.new(2)
    found = joined([None, one], [3, 2], ids, "what makes them is fixed")
    assert found is not None
    assert found.tolist() == [2, 3, 4, 0, 1]
    assert _reasons(ids, found) == ["what makes them is fixed"] * 3 + [""] * 2


def test_joined_axes_of_which_none_changes_have_no_channels() -> None:
    assert joined([None, None], [3, 2], Channels(), "not told") is None
