"""What a study is of: a study remembers it, and another recipe's trials never get into it."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pipeline import data
from pipeline.config import Frozen
from pipeline.errors import InputError
from pipeline.recipe import Recipe
from pipeline.stage import Surroundings, sections
from pipeline.stages import distill, import_model, train
from pipeline.tune import space as spaces
from pipeline.tune.config import text
from pipeline.tune.space import Space

if TYPE_CHECKING:
    from optuna import Study

    from pipeline.tune.objectives import Aim

_ATTRIBUTE = "modelmill"
# what may differ between two calls: names, limits, what no trial has, and how the search goes on
_FREE = ("name", "description", "edge", "judge", "tune")
# the stages whose surroundings are the content of files, and of no machine
_OF_FILES = (import_model, train, distill)
# what a latency is of; a run's fingerprint has in their place the server that is found in the end
_SERVER = {"target", "image", "binary", "device", "remote"}
_MOST_SHOWN = 8


def of(recipe: Recipe, space: Space, aim: Aim) -> dict[str, Any]:
    """Return what decides the values of trials, as plain values: of files their content, wherever they lie.

    Raises:
        InputError: the data, a model's file or the code that builds one cannot be read.
    """
    return {
        "recipe": _decisive(recipe, aim),
        "data": data.content_hash(recipe.data),
        "files": _files(recipe) | _files_of_choices(recipe, space),
        "space": {key: entry if isinstance(entry, tuple) else entry.model_dump() for key, entry in space.items()},
        "objectives": dict(zip(aim.objectives, aim.directions(), strict=True)),
        "measured": {"artifact": aim.artifact.id if aim.artifact else None, "runtime": aim.runtime},
        "metric": aim.metric.name,
    }


def _decisive(recipe: Recipe, aim: Aim) -> dict[str, Any]:
    plain = recipe.model_dump(mode="json", exclude=set(_FREE))
    values = {key: getattr(recipe, key) for key in plain}
    found = {key: one.decisive() if isinstance(one, Frozen) else plain[key] for key, one in values.items()}
    if recipe.serving and aim.runtime == "served":
        found["serving"] |= recipe.serving.model_dump(mode="json", include=_SERVER)
    return found


def _files(recipe: Recipe) -> dict[str, Any]:
    """Return the digests of the model's file, further teachers and the code that builds models."""
    found: dict[str, Any] = {}
    for stage in _OF_FILES:
        if stage.NAME in recipe.stages():
            chosen = {name: getattr(recipe, name) for name in sections(stage.surroundings)}
            around: Surroundings = stage.surroundings(lambda _: None, **chosen)
            found |= {f"{stage.NAME}: {name}": digest for name, digest in around.decisive.items()}
    return found


def _files_of_choices(recipe: Recipe, space: Space) -> dict[str, Any]:
    """Return the same of models that only some trials have."""
    document = recipe.model_dump(mode="json")
    found: dict[str, Any] = {}
    for key, entry in space.items():
        if key.partition(".")[0] in ("model", "distill") and isinstance(entry, tuple):
            for one in entry:
                files = _files(spaces.changed(document, {key: one}, recipe.name))
                found |= {f"{name} ({key}={text(one)})": digest for name, digest in files.items()}
    return found


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
        name = path.removeprefix("recipe.").removeprefix("files.")
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
