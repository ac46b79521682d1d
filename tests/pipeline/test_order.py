"""In which orders the stages that make a model smaller may stand, and what is said of the others."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from pipeline import order
from pipeline import recipe as recipes
from pipeline.errors import InputError
from pipeline.stages import NAMES

ALL = ("distill", "shrink", "prune", "cluster", "quantize")
USUAL = ("train", "distill", "profile", "shrink", "prune", "cluster", "quantize", "export", "measure")


def test_stages_stand_in_their_usual_order_when_none_is_said() -> None:
    assert order.arranged(USUAL, None) == USUAL
    assert list(order.problems(ALL, None)) == []


def test_stages_stand_as_they_are_asked_to_and_profile_right_before_shrink() -> None:
    wanted = ("distill", "prune", "cluster", "shrink", "quantize")
    assert order.arranged(USUAL, wanted) == (
        "train", "distill", "prune", "cluster", "profile", "shrink", "quantize", "export", "measure",
    )  # fmt: skip
    without = [name for name in USUAL if name != "profile"]
    assert order.arranged(without, wanted) == ("train", *wanted, "export", "measure")


def test_what_is_reordered_are_stages_in_their_usual_order() -> None:
    assert tuple(name for name in NAMES if name in order.REORDERED) == order.REORDERED == ALL


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (("prune", "shrink"), "prune, shrink"),
        ((*ALL, "prune"), "distill, shrink, prune, cluster, quantize, prune"),
        ((), "nothing"),
    ],
)
def test_order_has_to_name_each_section_once(wanted: tuple[str, ...], found: str) -> None:
    assert list(order.problems(ALL, wanted)) == [
        "order: expected distill, shrink, prune, cluster, quantize, each once, as the recipe has these sections; found "
        + found
    ]


def test_order_of_a_recipe_without_such_sections_is_refused() -> None:
    assert list(order.problems(("train", "export"), ("prune",))) == [
        "order: expected nothing, each once, as the recipe has these sections; found prune"
    ]


REFUSED = {
    ("shrink", "distill"): "order: distill has to come before shrink: distill trains another model from its start, so "
    "that the removal would be lost",
    ("prune", "distill"): "order: distill has to come before prune: distill trains another model from its start, so "
    "that the zeros would be lost",
    ("cluster", "distill"): "order: distill has to come before cluster: distill trains another model from its start, "
    "so that the clusters would be lost",
    ("quantize", "distill"): "order: distill has to come before quantize: distill trains another model from its start, "
    "so that what was learned for int8 would be lost",
    ("quantize", "shrink"): "order: shrink has to come before quantize: the ranges of quantize are those of the "
    "channels that there are in the end",
    ("quantize", "prune"): "order: prune has to come before quantize: quantize learns with the zeros that are there; "
    "new ones would undo what it learned",
    ("cluster", "prune"): "order: prune has to come before cluster: new zeros would take weights out of their clusters",
    ("quantize", "cluster"): "order: cluster has to come before quantize: quantize learns with the clusters that are "
    "there; new ones would undo what it learned",
}  # fmt: skip


@pytest.mark.parametrize("pair", permutations(ALL, 2), ids="-".join)
def test_each_pair_works_or_is_refused_with_the_reason(pair: tuple[str, str]) -> None:
    asked = [name for name in ALL if name in pair]
    assert list(order.problems(asked, pair)) == ([REFUSED[pair]] if pair in REFUSED else [])


def test_every_reason_is_told_at_once() -> None:
    assert list(order.problems(ALL, tuple(reversed(ALL)))) == list(REFUSED.values())


def test_orders_that_make_sense_are_those_of_shrink_among_prune_and_cluster() -> None:
    good = [found for found in permutations(ALL) if not list(order.problems(ALL, found))]
    assert sorted(good) == sorted(
        ("distill", *middle, "quantize")
        for middle in (("shrink", "prune", "cluster"), ("prune", "shrink", "cluster"), ("prune", "cluster", "shrink"))
    )


def _digits(*assignments: str) -> Any:
    return recipes.load("digits", ["cluster={}", *assignments])


def test_recipe_has_its_stages_in_the_order_that_it_says() -> None:
    found = _digits("order=[distill, prune, cluster, shrink, quantize]").stages()
    assert found == ("train", "distill", "prune", "cluster", "shrink", "quantize", "export", "measure")
    assert _digits().stages()[1:6] == ALL


def test_recipe_with_an_order_that_makes_no_sense_is_refused_and_with_an_unknown_name_too() -> None:
    with pytest.raises(InputError, match="order: prune has to come before cluster: new zeros would take weights out"):
        _digits("order=[distill, shrink, cluster, prune, quantize]")
    with pytest.raises(
        InputError, match=r"order\.0: expected one of distill, shrink, prune, cluster, quantize, found 'train'"
    ):
        _digits("order=[train, shrink]")
