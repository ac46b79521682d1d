"""The search space: what it is, whether a recipe takes it, and which stage it changes last."""

from __future__ import annotations

import pytest

from pipeline import recipe as recipes
from pipeline.errors import InputError
from pipeline.recipe import Recipe
from pipeline.tune import space
from pipeline.tune.config import Range


def recipe(*overrides: str, name: str = "digits-mlp") -> Recipe:
    return recipes.load(name, overrides)


def test_usual_space_is_of_the_last_two_stages_that_learn() -> None:
    found = space.of(recipe())
    assert found == {
        "quantize.optimizer.learning_rate": Range(low=0.0005, high=0.008, log=True),
        "quantize.teach.soft_weight": (0.5, 0.7, 0.9, 1.0),
        "prune.optimizer.learning_rate": (0.0025, 0.005, 0.01),
    }
    found = space.of(recipe("tune={sampler: grid}"))
    assert found["quantize.optimizer.learning_rate"] == (0.001, 0.002, 0.004)
    only = space.of(recipe("prune=null", "quantize=null", "export=null", "judge=null"))
    assert list(only) == ["train.optimizer.learning_rate"]


def test_usual_space_buys_quality_with_size_only_where_size_counts() -> None:
    assert "prune.final_sparsity" not in space.of(recipe())
    assert "prune.final_sparsity" in space.of(recipe("tune={objectives: [quality, size]}"))


@pytest.mark.parametrize("name", sorted(recipes.built_in()))
def test_every_built_in_recipe_takes_its_space(name: str) -> None:
    if name == "own-model":
        return  # it names a file that is not there
    found = recipe(name=name)
    space.require_possible(found, space.of(found))


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("train.epoch: [1]", "train.epoch: unknown key; did you mean train.epochs? (tried in tune.space.train.epoch)"),
        ("trian.epochs: [1]", "trian.epochs: unknown key; did you mean train?"),
        ("zzz: [1]", "zzz: unknown key; known here: name, description, seed, data, model, train"),
        ("prune.final_sparsity: {low: 0.5, high: 1.5}", "prune.final_sparsity: expected less than 1, found 1.5"),
        ("prune.final_sparsity: {low: -1, high: 0.5}", "found -1"),
        ("train.epochs: [3, many]", "found 'many' (tried in tune.space.train.epochs)"),
        ("cluster.clusters: [4]", "cluster.clusters: the recipe has no section cluster: add one, or try it as a whole"),
        ("export.stages: [null]", "export.stages: it changes nothing of quality: leave it out"),
        ("judge.gates: [null]", "judge.gates: it changes nothing of quality: leave it out"),
        ("tune.trials: [3]", "tune.trials: it changes nothing of quality: leave it out"),
        ("train: [null]", "train: expected a section, found nothing"),
    ],
)
def test_impossible_space_is_refused_before_anything_runs(entry: str, said: str) -> None:
    found = recipe(f"tune={{space: {{{entry}}}}}")
    with pytest.raises(InputError) as caught:
        space.require_possible(found, space.of(found))
    assert said in str(caught.value)
    assert "correct tune.space; its keys are those of the recipe, as in --set" in str(caught.value)


def test_all_problems_are_told_at_once() -> None:
    found = recipe("tune={space: {train.epoch: [1, 2], prune.final_sparsity: [2.0]}}")
    with pytest.raises(InputError, match=r"has 2 problems:\n  train\.epoch: (.|\n)*\n  prune\.final_sparsity: "):
        space.require_possible(found, space.of(found))


@pytest.mark.parametrize(
    ("keys", "stage"),
    [
        (["train.epochs"], "train"),
        (["train.epochs", "prune.final_sparsity"], "prune"),
        (["quantize.epochs", "train.epochs"], "quantize"),
        (["seed"], "train"),
        (["model.dense", "prune.epochs"], "prune"),
        (["order"], "quantize"),
        (["mixed_precision", "train.epochs"], "quantize"),
        (["prune"], "prune"),
    ],
)
def test_epochs_are_compared_in_the_last_stage_that_the_space_changes(keys: list[str], stage: str) -> None:
    assert space.last_stage(recipe(), dict.fromkeys(keys, (1,))) == stage


def test_choices_that_are_no_plain_values_are_remembered_as_text() -> None:
    choices = ({"name": "adam"}, None, 0.5, [8, 16], "plain")
    texts = [space.encoded(one) for one in choices]
    assert texts == ['{"name": "adam"}', None, 0.5, "[8, 16]", "plain"]
    assert [space.decoded(choices, one) for one in texts] == list(choices)
    assert space.decoded(Range(low=1, high=2), 1.5) == 1.5


def test_values_reach_the_recipe_exactly() -> None:
    document = recipe().model_dump(mode="json")
    found = space.changed(document, {"quantize.optimizer.learning_rate": 1.0000000000000003e-05, "prune": None}, "mine")
    assert found.quantize is not None
    assert found.quantize.optimizer.learning_rate == 1.0000000000000003e-05
    assert found.prune is None
