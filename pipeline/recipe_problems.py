"""What is wrong with a recipe, in words: keys as users write them, and the nearest that exists."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
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


def explained(problems: Sequence[Any], root: type[BaseModel]) -> list[str]:
    """Return pydantic's problems, a line for each key that is wrong, as the user writes it.

    Args:
        root: the config that was checked.
    """
    lines: list[str] = []
    wrong: dict[str, _Wrong] = {}
    for problem in problems:
        told = _explain(problem, root)
        if isinstance(told, str):
            lines.append(told)
        elif told.where not in wrong:
            wrong[told.where] = told
            lines.append(told.where)
        else:  # each choice of a key says by itself why it is not the one
            wrong[told.where] = wrong[told.where].or_else(told)
    # a list of which something is wrong counts only what is right: that it is too short follows
    follows = {name for name in wrong if wrong[name].counted and any(other.startswith(f"{name}.") for other in wrong)}
    return [str(wrong[line]) if line in wrong else line for line in lines if line not in follows]


@dataclass(frozen=True)
class _Wrong:
    """A key with a value that it cannot have.

    Attributes:
        expected: what it could be, each in words.
        counted: whether the number of values is what is wrong.
    """

    where: str
    expected: tuple[str, ...]
    found: Any
    hint: str = ""
    counted: bool = False

    def or_else(self, other: _Wrong) -> _Wrong:
        if self.counted and other.counted:
            return other
        more = tuple(one for one in other.expected if one not in self.expected)
        return replace(self, expected=(*self.expected, *more), hint=self.hint or other.hint)

    def __str__(self) -> str:
        return f"{self.where}: expected {' or '.join(self.expected)}, found {said(self.found)}{self.hint}"


def said(value: Any) -> str:
    """Return a value as a recipe writes it, where Python writes it otherwise."""
    plain = {None: "null", True: "true", False: "false"}
    return plain[value] if value is None or isinstance(value, bool) else repr(value)


def _explain(problem: Any, root: type[BaseModel]) -> str | _Wrong:
    """Return one of pydantic's problems: the key as the user writes it, what was expected and what found."""
    path, _ = _walk(problem["loc"], root)
    where, found = ".".join(path), problem["input"]
    match problem["type"]:
        case "extra_forbidden":
            return _unknown(path, problem["loc"], root)
        case "missing" if path and path[-1].isdigit():  # the first value that a list of so many lacks
            return _Wrong(".".join(path[:-1]), (f"{int(path[-1]) + 1} values",), found, counted=True)
        case "missing":
            return f"{where}: expected a value, found nothing"
        case "union_tag_invalid":
            tags = [tag.strip(" '") for tag in problem["ctx"]["expected_tags"].split(",")]
            key, tag = problem["ctx"]["discriminator"].strip("'"), str(problem["ctx"]["tag"])
            return f"{where}.{key}: expected one of {', '.join(tags)}, found {tag!r}{_hint(tag, tags)}"
        case "union_tag_not_found":
            key = problem["ctx"]["discriminator"].strip("'")
            usual = _usual(problem["loc"], found, root)
            return f"{where}: expected a mapping with the key {key!r}, found {said(found)}{usual}"
        case "literal_error":
            choices = [choice.strip(" '") for choice in problem["ctx"]["expected"].replace(" or ", ", ").split(",")]
            one_of = f"one of {', '.join(choices)}" if len(choices) > 1 else choices[0]
            return _Wrong(where, (one_of,), found, _hint(str(found), choices))
        case "value_error":
            return f"{where}: {problem['ctx']['error']}" if where else str(problem["ctx"]["error"])
        case "model_type" | "model_attributes_type" | "dict_type":
            return _Wrong(where, ("a section with keys",), found, _usual(problem["loc"], found, root))
        case "tuple_type" | "list_type":
            one = f"; a list of one is [{found}]" if isinstance(found, (str, int, float)) else ""
            return _Wrong(where, ("a list",), found, one)
        case "too_short" | "too_long":
            least = problem["type"] == "too_short"
            number = problem["ctx"]["min_length" if least else "max_length"]
            values = f"at {'least' if least else 'most'} {number} value{'s' * (number != 1)}"
            return _Wrong(where, (values,), found, counted=True)
    expected = problem["msg"].replace("Input should be ", "").replace("Value should ", "to ")
    return _Wrong(where, (f"{expected[0].lower()}{expected[1:]}",), found)


def _usual(location: tuple[int | str, ...], found: Any, root: type[BaseModel]) -> str:
    """Return how a key that chooses among configs is written, for who gave a name alone, or nothing at all."""
    _, parents = _walk(location[:-1], root)
    for parent in parents:
        field = parent.model_fields.get(str(location[-1]))
        key = field.discriminator if field else None
        if field is None or not isinstance(key, str):
            continue
        if isinstance(found, str):
            return _written(list(configs(field.annotation)), key, found)
        default = field.get_default(call_default_factory=True)
        if found is None and isinstance(default, BaseModel):
            return f"; where nothing is said it is {{{key}: {getattr(default, key)}}}"
    return ""


def _written(choices: Iterable[type[BaseModel]], key: str, text: str) -> str:
    """Return how a choice is written that somebody named by a text; a config's `meant` knows other names for it."""
    for config in choices:
        if _discriminates(config, text):
            return f"; write {{{key}: {text}}}"
        if hasattr(config, "meant") and (meant := config.meant(text)):
            return f"; write {meant}"
    return ""


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
