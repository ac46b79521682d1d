"""What a study is of: a study remembers it, and another recipe's trials never get into it."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pipeline import data
from pipeline.errors import InputError
from pipeline.recipe import Recipe
from pipeline.tune.space import Space

if TYPE_CHECKING:
    from optuna import Study

    from pipeline.tune.objectives import Aim

_ATTRIBUTE = "modelmill"
# what may differ between two calls, or two machines: names, limits, how the search goes on, and where the data lies
_FREE = ("name", "description", "judge", "tune")
_MOST_SHOWN = 8


def of(recipe: Recipe, space: Space, aim: Aim) -> dict[str, Any]:
    """Return what decides the values of trials, as plain values.

    Raises:
        InputError: the data cannot be read.
    """
    whole = {key: value for key, value in recipe.model_dump(mode="json").items() if key not in _FREE}
    whole["data"] = {key: value for key, value in whole["data"].items() if key != "path"}
    return {
        "recipe": whole,
        "data": data.content_hash(recipe.data),
        "space": {key: entry if isinstance(entry, tuple) else entry.model_dump() for key, entry in space.items()},
        "objectives": dict(zip(aim.objectives, aim.directions(), strict=True)),
        "measured": {"artifact": aim.artifact.id if aim.artifact else None, "runtime": aim.runtime},
        "metric": aim.metric.name,
    }


def claim(study: Study, mine: Mapping[str, Any]) -> list[str]:
    """Remember in a new study what it is of, or see that an old one is of the same; returns what a reader should know.

    Raises:
        InputError: it is of something else; the message says in what they differ.
    """
    version = importlib.metadata.version("modelmill")
    plain = _plain(mine)
    known = study.user_attrs.get(_ATTRIBUTE)
    if known is None:
        if study.get_trials(deepcopy=False):
            raise InputError(
                f"the study {study.study_name} was not made by modelmill",
                expected="a new name, or a study of `modelmill tune`",
                found=f"{len(study.get_trials(deepcopy=False))} trials of somebody else",
                todo="choose another --study",
            )
        study.set_user_attr(_ATTRIBUTE, {"version": version, "of": plain})
        known = {"version": version, "of": plain}
    lines = list(_differences(known["of"], plain))
    if lines:
        more = [f"and {len(lines) - _MOST_SHOWN} more"] if len(lines) > _MOST_SHOWN else []
        raise InputError(
            f"the study {study.study_name} is of another search:\n"
            + "\n".join(f"  {line}" for line in [*lines[:_MOST_SHOWN], *more]),
            expected="the same recipe, data, search space and objectives, or their values could not be compared",
            todo="choose another --out or --study, or give the recipe that the study is of",
        )
    if known["version"] != version:
        return [
            f"the study was begun with modelmill {known['version']}, and this is {version}: "
            "trials of both may differ for that alone"
        ]
    return []


def _differences(before: Any, now: Any, path: str = "") -> Iterator[str]:
    """Yield "key: it has 1, and this call 2" for every value that differs."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in dict.fromkeys([*before, *now]):
            yield from _differences(before.get(key), now.get(key), f"{path}.{key}" if path else str(key))
    elif before != now:
        name = path.removeprefix("recipe.")
        name = "the data's content" if path == "data" else f"tune.{name}" if path.startswith("space") else name
        yield f"{name}: the study has {_short(before)}, this call {_short(now)}"


def _short(value: Any) -> str:
    found = "nothing" if value is None else str(value)
    return found if len(found) <= 60 else f"{found[:57]}..."


def _plain(value: Any) -> Any:
    """Return a value as a storage gives it back: tuples are lists there."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, (list, tuple)) else value
