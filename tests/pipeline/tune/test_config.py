"""The section tune: what it takes, and what it says of the rest."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline import recipe as recipes
from pipeline.errors import InputError
from pipeline.tune.config import Config, Range


def tune(text: str) -> Config:
    found = recipes.load("digits-mlp", [f"tune={text}"]).tune
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{samplr: grid}", "tune.samplr: unknown key; did you mean tune.sampler?"),
        ("{sampler: gird}", "tune.sampler: expected one of grid, random, tpe, found 'gird'; did you mean grid?"),
        ("{trials: 0}", "tune.trials: expected greater than or equal to 1, found 0"),
        ("{space: {train.epochs: 3}}", "tune.space.train.epochs: expected a list of choices, or a range such as {low"),
        ("{space: {train.epochs: {low: 5, high: 3}}}", "tune.space.train.epochs: low must be below high"),
        ("{space: {train.epochs: {lo: 5, high: 9}}}", "tune.space.train.epochs.lo: unknown key"),
        ("{space: {train.epochs: {low: 0, high: 9, log: true}}}", "log needs low above 0, but it is 0"),
        ("{space: {train.epochs: {low: 1, high: 9, log: true, step: 2}}}", "log and step exclude each other"),
        ("{space: {train.epochs: {low: 1, high: 2, step: 2}}}", "step (2) must be at most the distance"),
        ("{space: {train.epochs: []}}", "space.train.epochs wants one or more choices, each once"),
        ("{space: {train.epochs: [3, 3]}}", "space.train.epochs wants one or more choices, each once"),
        ("{space: {prune.final_sparsity: {low: 0.1, high: 0.9}}, sampler: grid}", "a grid needs a step"),
        ("{objectives: [quality, size], pruner: median}", "pruner median needs one objective, quality"),
        ("{objectives: [size], pruner: hyperband}", "pruner hyperband needs one objective, quality"),
        ("{objectives: []}", "objectives wants one or more, each once"),
        ("{objectives: [size, size]}", "objectives wants one or more, each once"),
        ("{runtime: litert}", "runtime (litert) is that of latency and size"),
        ("{storage: 'sqlite:///x.db'}", "tune.storage: unknown key"),  # a stranger's recipe names no database
    ],
)
def test_wrong_section_is_refused_in_the_words_of_its_keys(text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        tune(text)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("entry", "values"),
    [
        ({"low": 1, "high": 3}, [1, 2, 3]),
        ({"low": 1, "high": 6, "step": 2}, [1, 3, 5]),
        ({"low": 0.1, "high": 0.5, "step": 0.1}, [0.1, 0.2, 0.3, 0.4, 0.5]),
        ({"low": 0.1, "high": 0.5}, None),
        ({"low": 1, "high": 9, "log": True}, None),
    ],
)
def test_range_knows_its_values_where_they_have_an_end(entry: dict[str, Any], values: list[float] | None) -> None:
    found = Range(**entry)
    assert found.values() == values
    assert found.whole == isinstance(entry["low"], int)


def test_section_is_read_as_it_was_written_and_decides_no_stage() -> None:
    space = "{train.epochs: {low: 1, high: 9}, quantize.optimizer: [{name: sgd}, {name: adam}], prune: [null]}"
    before = recipes.load("digits-mlp", [f"tune={{space: {space}, pruner: median}}"])
    again = recipes.check(recipes.parse(recipes.dump(before), "again"), "again")
    assert again == before
    assert "tune" not in before.stages()
