"""`modelmill init`: a recipe as commented YAML, every key with its meaning, from the types alone."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

import yaml
from pydantic import BaseModel

from pipeline.recipe import Recipe

_WIDTH = 110


def commented(recipe: Recipe) -> str:
    """Return the recipe as YAML, every default visible and every key explained; `load` of it gives an equal recipe."""
    head = [
        f"# A modelmill recipe, made from {recipe.name!r}. Run it: modelmill run THIS_FILE",
        "# A section's presence is the switch: without `measure` nothing is measured.",
        "",
    ]
    return "\n".join([*head, *_section(recipe, "")]) + "\n"


def _section(config: BaseModel, indent: str) -> Iterator[str]:
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        text = field.description or (_first_line(value) if isinstance(value, BaseModel) else "")
        if text:
            yield from textwrap.wrap(text, _WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
        if isinstance(value, BaseModel):
            yield f"{indent}{name}:"
            yield from _section(value, f"{indent}  ")
        else:
            plain = config.model_dump(mode="json", include={name})[name]
            yield f"{indent}{name}: {_inline(plain)}"
        if not indent:
            yield ""


def _first_line(config: BaseModel) -> str:
    return (type(config).__doc__ or "").strip().split("\n")[0]


def _inline(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True).strip()
    return text.removesuffix("...").strip()
