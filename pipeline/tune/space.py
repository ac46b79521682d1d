"""The search space: what it is where the recipe is silent, whether it is possible, and what one trial gets of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pipeline import recipe as recipes
from pipeline.errors import InputError
from pipeline.fit.config import FineTuning, FitConfig
from pipeline.recipe import Recipe
from pipeline.recipe_problems import nearest
from pipeline.tune.config import Config, Entry, Range, text

if TYPE_CHECKING:
    from optuna.trial import Trial

Space = Mapping[str, Entry]

# sections of which nothing changes an objective, or that are the search itself
_APART = ("name", "description", "edge", "judge", "tune")
# of these only latency and size can change
_OF_FILES = ("export", "measure", "serving")
# the first stage that learns is the first that they change
_OF_THE_FIRST = ("seed", "data", "model")
# what a recipe that has no space tries of a learning rate, and of the share of a teacher in the loss
_TIMES, _WEIGHTS = (0.5, 1, 2), (0.5, 0.7, 0.9, 1.0)


def of(recipe: Recipe) -> dict[str, Entry]:
    """Return the recipe's space, or the usual one: of the last two stages that learn, what decides how they do.

    Late stages, because all trials share what comes before; nothing that buys quality with size (how many zeros, how
    wide), unless size is an objective.
    """
    config = recipe.tune or Config()
    if config.space:
        return dict(config.space)
    learning = [(name, one) for name in recipe.models() if isinstance(one := getattr(recipe, name, None), FitConfig)]
    found: dict[str, Entry] = {}
    for place, (name, section) in enumerate(learning[-2:][::-1]):
        rate = section.optimizer.learning_rate
        key = f"{name}.optimizer.learning_rate"
        # few choices of the earlier one, so that many trials share it
        free = place == 0 and config.sampler != "grid"
        found[key] = Range(low=rate / 4, high=rate * 4, log=True) if free else tuple(rate * by for by in _TIMES)
        if place == 0 and isinstance(section, FineTuning) and section.teach is not None:
            found[f"{name}.teach.soft_weight"] = _WEIGHTS
    if "size" in config.objectives and recipe.prune and not recipe.prune.structured():
        found["prune.final_sparsity"] = (0.5, 0.7, 0.8, 0.9)
    return found


def require_possible(recipe: Recipe, space: Space) -> None:
    """Refuse a space that the recipe does not take: each choice and both ends of each range are tried by themselves.

    Raises:
        InputError: with every problem.
    """
    document = recipe.model_dump(mode="json") | {"tune": None}
    lines = [line for key, entry in space.items() for line in dict.fromkeys(_problems(recipe, document, key, entry))]
    if lines:
        count = f"{len(lines)} problems" if len(lines) > 1 else "a problem"
        raise InputError(
            f"the search space of the recipe {recipe.name} has {count}:\n" + "\n".join(f"  {line}" for line in lines),
            todo="correct tune.space; its keys are those of the recipe, as in --set",
        )


def _problems(recipe: Recipe, document: dict[str, Any], key: str, entry: Entry) -> Iterator[str]:
    section = key.partition(".")[0]
    known = list(Recipe.model_fields)
    objectives = (recipe.tune or Config()).objectives
    if section not in known:
        close = nearest(section, known)
        yield f"{key}: unknown key; " + (f"did you mean {close}?" if close else f"known here: {', '.join(known)}")
    elif section in _APART or (section in _OF_FILES and objectives == ("quality",)):
        yield f"{key}: it changes nothing of {', '.join(objectives)}: leave it out"
    elif "." in key and document[section] is None:
        yield f"{key}: the recipe has no section {section}: add one, or try it as a whole ({section}: [null, {{...}}])"
    else:
        for value in (entry.low, entry.high) if isinstance(entry, Range) else entry:
            try:
                changed(document, {key: value}, recipe.name)
            except InputError as error:
                told = error.what.partition("\n")[2] or error.what
                yield from (f"{line.strip()} (tried in tune.space.{key})" for line in told.splitlines())


def changed(document: dict[str, Any], parameters: Mapping[str, Any], source: str) -> Recipe:
    """Return the recipe of a mapping with some keys changed.

    Raises:
        InputError: together they are impossible.
    """
    return recipes.check(recipes.override(document, [f"{key}={text(one)}" for key, one in parameters.items()]), source)


def last_stage(recipe: Recipe, space: Space) -> str | None:
    """Return the last stage that learns and that the space changes by a key of its own; None where none is.

    Every trial runs it, whatever it shares of the stages before it; so its epochs can be compared.
    """
    learning = [name for name in recipe.models() if isinstance(getattr(recipe, name, None), FitConfig)]
    sections = {key.partition(".")[0] for key in space}
    others = sections - set(learning)
    if others - set(_OF_THE_FIRST) and learning:
        return learning[-1]  # what concerns every stage: their order, or what they compute on
    sections |= {learning[0]} if learning and others else set()
    touched = [name for name in learning if name in sections]
    return touched[-1] if touched else None


def suggest(trial: Trial, space: Space) -> dict[str, Any]:
    """Return the keys of one trial with their values, by the study's sampler."""
    found: dict[str, Any] = {}
    for key, entry in space.items():
        if not isinstance(entry, Range):
            found[key] = decoded(entry, trial.suggest_categorical(key, [encoded(one) for one in entry]))
        elif entry.whole:
            low, high, step = int(entry.low), int(entry.high), int(entry.step or 1)
            found[key] = trial.suggest_int(key, low, high - (high - low) % step, step=step, log=entry.log)
        else:
            values = entry.values()
            top = values[-1] if values else entry.high
            found[key] = trial.suggest_float(key, entry.low, top, step=entry.step, log=entry.log)
    return found


def grid(space: Space) -> dict[str, list[Any]]:
    """Return every value of each key, as a study remembers it; ranges must have an end of values."""
    return {
        key: list(entry.values() or ()) if isinstance(entry, Range) else [encoded(one) for one in entry]
        for key, entry in space.items()
    }


def encoded(value: Any) -> Any:
    """Return what a study can remember of a choice: itself, or the text of what is no plain value."""
    return value if value is None or isinstance(value, (bool, int, float, str)) else text(value)


def decoded(entry: Entry, value: Any) -> Any:
    """Return the choice that `encoded` made a study's value of."""
    if isinstance(entry, Range):
        return value
    return next((one for one in entry if text(encoded(one)) == text(value)), value)
