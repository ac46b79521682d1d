"""`modelmill init`: a recipe as commented YAML, every key with its meaning, from the types alone."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any, get_args

import yaml
from pydantic import BaseModel

from pipeline.recipe import Recipe
from pipeline.recipe_problems import configs

_WIDTH = 110


def commented(recipe: Recipe, source: str) -> str:
    """Return the recipe as YAML, every default visible and every key explained; `load` of it gives an equal recipe."""
    head = [
        f"# A modelmill recipe, made from {source!r}. Run it: modelmill run THIS_FILE",
        "# A section's presence is the switch: without `measure` nothing is measured.",
        "",
    ]
    return "\n".join([*head, *section(recipe, "")]) + "\n"


def section(config: BaseModel, indent: str, kinds: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield a config's lines of YAML, each key below its meaning.

    Args:
        kinds: the names among which the config was chosen.
    """
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        choices = list(configs(field.annotation))
        text = field.description or (summary(value) if isinstance(value, BaseModel) else _of_absent(choices))
        if kinds and value in kinds:
            text = f"one of {', '.join(kinds)}; the keys that follow are its own"
        if text:
            yield from textwrap.wrap(text, _WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
        if isinstance(value, BaseModel):
            yield f"{indent}{name}:"
            yield from section(value, f"{indent}  ", _kinds(field.annotation))
        else:
            plain = config.model_dump(mode="json", include={name})[name]
            yield f"{indent}{name}: {_inline(plain)}"
            if value is None and len(choices) == 1:
                yield from absent(choices[0], f"{indent}#   ")
        if not indent:
            yield ""


def absent(config: type[BaseModel], indent: str) -> Iterator[str]:
    """Yield the lines of a section that is not there, each key below its meaning, as comments.

    Args:
        indent: with the comment's mark.
    """
    for name, field in config.model_fields.items():
        default = field.get_default(call_default_factory=True)
        if isinstance(default, BaseModel):
            default = default.model_dump(mode="json")
        if text := field.description or "":
            yield from textwrap.wrap(text, _WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
        yield f"{indent}{name}:{' (needed)' if field.is_required() else f' {_inline(default)}'}"


def _kinds(annotation: Any) -> tuple[str, ...]:
    """Return the names of the configs among which a key chooses, empty where there is no choice."""
    choices = list(configs(annotation))
    if len(choices) < 2:
        return ()
    # the tag is the one key that is a literal of a single name in each of them
    return tuple(
        get_args(field.annotation)[0]
        for choice in choices
        for field in choice.model_fields.values()
        if len(get_args(field.annotation)) == 1 and isinstance(get_args(field.annotation)[0], str)
    )


def summary(config: BaseModel | type[BaseModel]) -> str:
    """Return what a config is, in one line."""
    return (config.__doc__ or "").strip().split("\n")[0]


def _of_absent(choices: list[type[BaseModel]]) -> str:
    return f"{summary(choices[0]).removesuffix('.')}; null: left out" if len(choices) == 1 else ""


def _inline(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True).strip()
    return text.removesuffix("...").strip()
