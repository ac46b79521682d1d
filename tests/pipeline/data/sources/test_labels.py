from __future__ import annotations

import pytest

from pipeline.data.sources import labels


@pytest.mark.parametrize(
    ("names", "ordered"),
    [
        (["10", "9", "-1"], ("-1", "9", "10")),
        (["b", "a", "10", "9"], ("10", "9", "a", "b")),
        (["7", "07"], ("07", "7")),
    ],
)
def test_integers_are_in_the_order_of_their_numbers_and_other_names_in_that_of_their_letters(
    names: list[str], ordered: tuple[str, ...]
) -> None:
    assert labels.order(names) == ordered


def test_stated_classes_are_named_or_numbered_in_the_data() -> None:
    stated = ("ham", "spam")
    assert labels.chosen(["spam", "ham"], stated) == (stated, [])
    assert labels.positions(["spam", "ham"], stated) == {"ham": 0, "spam": 1}
    assert labels.chosen(["1", "0"], stated) == (stated, [])
    assert labels.positions(["1", "0"], stated) == {"0": 0, "1": 1}
    assert labels.chosen(["1", "2"], stated) == (stated, ["2"])
    assert labels.chosen(["ham", "Spam"], stated) == (stated, ["Spam"])
    assert labels.chosen(["20", "10"], ("10", "20"))[1] == []
    assert labels.positions(["20", "10"], ("10", "20")) == {"10": 0, "20": 1}
