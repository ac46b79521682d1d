from __future__ import annotations

import json

import pytest
import yaml

from models import MODELS
from pipeline import listings
from pipeline import recipe as recipes
from pipeline.errors import InputError


def test_recipes_are_listed_with_what_they_show(capsys: pytest.CaptureFixture[str]) -> None:
    listings.show_recipes(as_json=True)
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {item["name"] for item in found} == set(recipes.built_in())
    assert all(item["description"] for item in found)


def test_architectures_are_listed_with_what_they_are_and_how_large(capsys: pytest.CaptureFixture[str]) -> None:
    listings.show_architectures(None, as_json=False)
    shown = " ".join(capsys.readouterr().out.split())
    for name in MODELS:
        assert name in shown
    assert "{architecture: resnet, depth: 8} 32x32x3 10 78,714 12,501,632" in shown


def test_stated_models_are_sections_of_a_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    listings.show_architectures(None, as_json=True)
    for line in capsys.readouterr().out.splitlines():
        size = json.loads(line)
        document = yaml.safe_load(recipes.dump(recipes.load("mnist"))) | {"model": size["model"]}
        dumped = recipes.check(document, "x").model.model_dump(mode="json")
        assert dumped | size["model"] == dumped


@pytest.mark.parametrize("name", MODELS)
def test_keys_of_an_architecture_are_explained_as_a_recipe_has_them(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    listings.show_architectures(name, as_json=False)
    text = capsys.readouterr().out
    assert yaml.safe_load(text)["model"] == MODELS[name].Config().model_dump(mode="json")
    assert "# how kernels start" in text


def test_unknown_architecture_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match="there is no architecture 'resnet8'") as refused:
        listings.show_architectures("resnet8", as_json=False)
    assert refused.value.expected == f"one of {', '.join(MODELS)}"
