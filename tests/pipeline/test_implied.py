from __future__ import annotations

from pipeline import recipe


def test_numbers_to_predict_make_a_regression_of_a_recipe_that_names_no_task() -> None:
    sets = ["data={source: diabetes}", "model={architecture: mlp}", "distill=null", "prune=null"]
    assert recipe.load("digits", sets).data.task == "regression"
    assert recipe.load("digits", [*sets, "data.source=wine"]).data.task is None
