"""Every rule that a client can see has a test that bears its number."""

from __future__ import annotations

from tests.serving.server import rules


def test_every_rule_has_a_test_or_an_explanation() -> None:
    assert rules.untested() == []


def test_every_number_that_a_test_bears_is_a_rule() -> None:
    assert {rule for rule, _ in rules.tested()} <= rules.RULES.keys()


def test_nothing_is_explained_that_has_a_test() -> None:
    assert not {rule for rule, _ in rules.tested()} & rules.EXPLAINED.keys()
