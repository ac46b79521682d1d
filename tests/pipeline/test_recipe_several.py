"""Recipes with candidates or an ensemble."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.several import Ensemble, Selection
from pipeline import recipe as recipes
from pipeline.recipe_text import commented
from tests.pipeline.test_recipe import message, written


def test_candidates_and_ensemble_are_models_without_an_architecture_of_their_own(tmp_path: Path) -> None:
    several = "{candidates: [{architecture: mlp, dense: [3]}, {architecture: cnn, filters: [8]}]}"
    recipe = recipes.load("digits", [f"model={several}"])
    assert isinstance(recipe.model, Selection)
    assert [one.architecture for one in recipe.model.candidates] == ["mlp", "cnn"]
    assert recipes.load(written(tmp_path, recipes.dump(recipe))) == recipe
    assert recipes.load(written(tmp_path, commented(recipe, "digits"))) == recipe
    recipe = recipes.load("digits", ["model={ensemble: [{architecture: mlp}], copies: 3}"])
    assert isinstance(recipe.model, Ensemble)
    assert len(recipe.model.members) == 3


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("{candidates: [{architecture: mlp}, {architecture: cnn, filter: [8]}]}",
         "model.candidates.1.filter: unknown key; did you mean model.candidates.1.filters?"),
        ("{candidates: [{architecture: mlp, filters: [8]}, {architecture: cnn}]}",
         "model.candidates.0.filters: unknown key; known here: "),
        ("{candidates: [{architecture: mlp}, {architecture: cnnn}]}", "found 'cnnn'; did you mean cnn?"),
        ("{candidates: [{architecture: mlp}, {dense: [3]}]}",
         "model.candidates.1: expected a mapping with the key 'architecture'"),
        ("{candidates: [{architecture: mlp}]}", "model: candidates lists fewer than two models"),
        ("{candidates: [{architecture: mlp}, {architecture: cnn}], candidate: 1}",
         "model.candidate: unknown key; did you mean model.candidates?"),
        ("{candidates: [{architecture: mlp}, {architecture: cnn, filters: [8, 8, 8, 8]}, {architecture: autoencoder}]}",
         "model.candidates[1]: model.candidates[1].filters has too many blocks for the size of the images"),
        ("{candidates: [{architecture: mlp}, {architecture: mlp}, {architecture: autoencoder}]}",
         "model.candidates[2]: model.candidates[2].architecture 'autoencoder' is not for this task"),
        ("{ensemble: [{architecture: mlp}]}", "an ensemble has two or more members"),
        ("{ensemble: [{architecture: mlp}], copies: 0}", "model.copies: expected"),
        ("{ensemble: [{architecture: mlp}], copy: 2}", "model.copy: unknown key; did you mean model.copies?"),
    ],
)  # fmt: skip
def test_several_models_that_are_impossible_are_refused_with_their_place(model: str, said: str) -> None:
    text = message("digits", f"model={model}")
    assert "has a problem:" in text
    assert said in text


def test_several_models_need_a_section_train() -> None:
    text = message("digits", "model={ensemble: [{architecture: mlp}], copies: 2}", "train=null", "judge=null")
    assert "train: expected a section, found nothing" in text
