"""What comes with the package: the verbs `recipes` and `architectures`. Nothing here loads TensorFlow."""

from __future__ import annotations

import importlib.resources
import json
from typing import Any

from rich.console import Console
from rich.table import Table

from models import MODELS
from pipeline import recipe as recipes
from pipeline.errors import InputError
from pipeline.recipe_text import section, summary

# parameters and MACs, counted on built models by tests/models/sizes.py
SIZES = "sizes.json"


def show_recipes(as_json: bool) -> None:
    """Print the built-in recipes and what each shows."""
    loaded = [recipes.load(name) for name in recipes.built_in()]
    if as_json:
        for found in loaded:
            print(json.dumps({"name": found.name, "description": found.description}))
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("recipe", style="bold")
    table.add_column("what it shows")
    for found in loaded:
        table.add_row(found.name, found.description)
    Console(highlight=False).print(table)


def sizes() -> list[dict[str, Any]]:
    """Return of some configs of each architecture: `model` (the recipe's section), input, output, parameters, macs."""
    text = (importlib.resources.files("models") / SIZES).read_text(encoding="utf-8")
    found: list[dict[str, Any]] = json.loads(text)
    return found


def show_architectures(name: str | None, as_json: bool) -> None:
    """Print what can be named in a recipe's section `model` and how large some of them are, or one's keys.

    Raises:
        InputError: there is none of this name.
    """
    if name is not None:
        _explain(name)
        return
    if as_json:
        for size in sizes():
            print(json.dumps(size))
        return
    console = Console(highlight=False)
    names = Table(box=None, pad_edge=False)
    names.add_column("architecture", style="bold", no_wrap=True)
    names.add_column("what it is")
    for known, module in MODELS.items():
        names.add_row(known, summary(module.Config()))
    console.print(names)
    table = Table(box=None, pad_edge=False)
    table.add_column("model:", style="bold")
    for column in ("input", "output", "parameters", "MACs"):
        table.add_column(column, justify="right", no_wrap=True)
    for size in sizes():
        keys = ", ".join(f"{key}: {json.dumps(value)}".replace('"', "") for key, value in size["model"].items())
        # a model of texts holds a row of numbers for each word that it tells apart
        words = f", {size['vocabulary']:,} words" if "vocabulary" in size else ""
        table.add_row(
            f"{{{keys}}}{words}",
            _shape(size["input"]),
            _shape(size["output"]),
            f"{size['parameters']:,}",
            f"{size['macs']:,}",
        )
    console.print()
    console.print(table, soft_wrap=not console.is_terminal)
    console.print("\nParameters, those of batch normalization included, and MACs for one sample.", soft_wrap=True)
    console.print("`modelmill architectures NAME` explains the keys of one.", soft_wrap=True)


def _explain(name: str) -> None:
    if name not in MODELS:
        raise InputError(
            f"there is no architecture {name!r}", expected=f"one of {', '.join(MODELS)}", found=name,
            todo="`modelmill architectures` lists them",
        )  # fmt: skip
    print("\n".join(["model:", *section(MODELS[name].Config(), "  ")]))


def _shape(dimensions: list[int]) -> str:
    return "x".join(str(size) for size in dimensions)
