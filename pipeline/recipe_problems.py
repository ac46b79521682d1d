"""What is wrong with a recipe, in words: keys as users write them, and the nearest that exists."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

# what pydantic puts into a path for a key of a mapping, and for the choices of a union that are no configs
_UNION_TAG = re.compile(r"\[key\]|(literal|dict|tuple)\[.*\]")


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """Return the choice that a word was meant to be, None where none is near."""
    close = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.6)
    return close[0] if close else None


def configs(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the config classes inside an annotation: optional ones, unions and annotated ones."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) is Annotated:
        yield from configs(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, type(int | str), dict, list, tuple):
        for argument in get_args(annotation):
            yield from configs(argument)


def _discriminates(model: type[BaseModel], tag: str) -> bool:
    return any(tag in get_args(field.annotation) for field in model.model_fields.values())


def _walk(location: tuple[int | str, ...], root: type[BaseModel]) -> tuple[list[str], list[type[BaseModel]]]:
    """Return a location's path as the user writes it, without pydantic's union tags, and the configs it leads to."""
    path: list[str] = []
    here: list[type[BaseModel]] = [root]
    for part in location:
        fields = [model.model_fields[part] for model in here if isinstance(part, str) and part in model.model_fields]
        if fields:
            path.append(str(part))
            here = [found for field in fields for found in configs(field.annotation)]
        elif tagged := [model for model in here if _discriminates(model, str(part))]:
            here = tagged
        elif not _UNION_TAG.fullmatch(str(part)) and str(part) not in {model.__name__ for model in here}:
            path.append(str(part))
    return path, here


def _paths(model: type[BaseModel], prefix: str = "", depth: int = 4) -> Iterator[str]:
    """Yield the path of every key below a config."""
    for name, field in model.model_fields.items():
        yield prefix + name
        if depth:
            for inner in configs(field.annotation):
                yield from _paths(inner, f"{prefix}{name}.", depth - 1)


def explain(problem: Any, root: type[BaseModel]) -> str:
    """Return one of pydantic's problems in a line: the key as the user writes it, what was expected and what found.

    Args:
        root: the config that was checked.
    """
    path, _ = _walk(problem["loc"], root)
    where = ".".join(path)
    match problem["type"]:
        case "extra_forbidden":
            return _unknown(path, problem["loc"], root)
        case "missing":
            return f"{where}: expected a value, found nothing"
        case "union_tag_invalid":
            tags = [tag.strip(" '") for tag in problem["ctx"]["expected_tags"].split(",")]
            key, tag = problem["ctx"]["discriminator"].strip("'"), str(problem["ctx"]["tag"])
            return f"{where}.{key}: expected one of {', '.join(tags)}, found {tag!r}{_hint(tag, tags)}"
        case "union_tag_not_found":
            key = problem["ctx"]["discriminator"].strip("'")
            return f"{where}: expected a mapping with the key {key!r}, found {problem['input']!r}"
        case "literal_error":
            choices = [choice.strip(" '") for choice in problem["ctx"]["expected"].replace(" or ", ", ").split(",")]
            found = problem["input"]
            return f"{where}: expected one of {', '.join(choices)}, found {found!r}{_hint(str(found), choices)}"
        case "value_error":
            return f"{where}: {problem['ctx']['error']}" if where else str(problem["ctx"]["error"])
        case "model_type" | "model_attributes_type" | "dict_type":
            return f"{where}: expected a section with keys, found {problem['input']!r}"
    expected = problem["msg"].replace("Input should be", "expected").replace("Value should", "expected to")
    return f"{where}: {expected[0].lower()}{expected[1:]}, found {problem['input']!r}"


def _hint(word: str, choices: Iterable[str]) -> str:
    close = nearest(word, choices)
    return f"; did you mean {close}?" if close else ""


def _unknown(path: list[str], location: tuple[int | str, ...], root: type[BaseModel]) -> str:
    _, siblings = _walk(location[:-1], root)
    names = [name for model in siblings for name in model.model_fields]
    close = nearest(path[-1], names)
    if close:
        close = ".".join([*path[:-1], close])
    else:
        known = list(_paths(root))
        # a key of another choice (another architecture's) is at the right place
        here = ".".join(part for part in path if not part.isdigit())
        elsewhere = [] if here in known else [key for key in known if key.rsplit(".", 1)[-1] == path[-1]]
        close = elsewhere[0] if elsewhere else None
    todo = f"did you mean {close}?" if close else f"known here: {', '.join(names)}"
    return f"{'.'.join(path)}: unknown key; {todo}"
