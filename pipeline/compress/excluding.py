"""Which layers a technique leaves as they are: those that the recipe names, or the most sensitive ones."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pipeline.compress import sensitivity_table
from pipeline.compress.sensitivity_table import Sensitivity, Technique, said
from pipeline.errors import InputError
from pipeline.events import Note
from pipeline.metric import of_key

if TYPE_CHECKING:
    from pipeline.fit.config import Compressing
    from pipeline.stage import Job

_Own = TypeVar("_Own")
# how the reason ends why "auto" leaves a layer out
_AUTO = "(exclude: auto)"
# what is said where "auto" leaves nothing out
NOTHING = "exclude: auto leaves no layer out"
# the stage whose artifact `auto` reads
STAGE = "sensitivity"


def of(
    job: Job, model: Any, config: Compressing, technique: Technique, asked: float, touched: Container[str] | None = None
) -> dict[str, str]:  # fmt: skip
    """Return layer name -> why the recipe leaves it out, for the layers of the model that comes to a stage.

    Args:
        job: whose inputs hold the table, where `config.exclude` is auto.
        technique: the stage's name.
        asked: how much the stage does, as `Trial.amount`.
        touched: names of the layers that the stage would work on; None: all that it can.

    Raises:
        InputError: as `named` and `worst`.
    """
    names = [layer.name for layer in model.layers]
    if config.exclude != "auto":
        return named(config.exclude, names, technique)
    table = sensitivity_table.read(job.inputs[STAGE].folder)
    budget = config.exclude_budget
    out = {
        name: reason
        for name, reason in worst(table, technique, asked=asked, budget=budget, touched=touched).items()
        if name in names
    }
    if not out:
        _, metric = of_key(table.metric)
        bound = f"{metric.difference(budget)}{metric.step} ({technique}.exclude_budget)"
        text = f"{NOTHING}: what all of them lose, each by itself, adds up to at most {bound}"
        job.emit(Note(technique, text))
    return out


def named(exclude: Sequence[str] | Literal["auto"], names: Sequence[str], technique: Technique) -> dict[str, str]:
    """Return layer name -> why it is left out, for names and patterns; nothing of those that are found by "auto".

    Raises:
        InputError: a name or pattern fits no layer.
    """
    if exclude == "auto":
        return {}
    unknown = [pattern for pattern in exclude if not fnmatch.filter(names, pattern)]
    if unknown:
        near = [close for pattern in unknown for close in difflib.get_close_matches(pattern, names, 1)]
        raise InputError(
            f"{technique}.exclude names what is no layer of the model",
            expected=f"names or patterns of {', '.join(names)}", found=", ".join(unknown),
            todo=f"did you mean {', '.join(near)}?" if near else "correct the name",
        )  # fmt: skip
    reason = f"the recipe leaves it out ({technique}.exclude)"
    return {name: reason for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in exclude)}


def by_measurement(reason: str) -> bool:
    """Return whether a layer was left out for what sensitivity measured, of which nobody knows before."""
    return reason.endswith(_AUTO)


def without(layers: Mapping[str, _Own | None], out: Iterable[str]) -> dict[str, _Own | None]:
    """Return a section's `layers`, of which the last entry that fits a layer decides, with some layers left out."""
    names = list(out)
    return {key: own for key, own in layers.items() if key not in names} | dict.fromkeys(names)


def lowered(out: Mapping[str, str], origins: Mapping[str, str]) -> dict[str, str]:
    """Return what is left out of a lowered model, layer name -> why: what comes of a layer goes with it.

    Args:
        out: the same of the model before.
        origins: see `lowering.lower`.
    """
    return {**out, **{name: out[origin] for name, origin in origins.items() if origin in out}}


def worst(
    table: Sensitivity, technique: Technique, *, asked: float, budget: float, touched: Container[str] | None = None
) -> dict[str, str]:  # fmt: skip
    """Return layer name -> why it is left out: the fewest of the worst such that the others lose little enough.

    What layers lose by themselves is added up, at the amount nearest to what is asked; what a layer gains is no loss,
    and pays for none.

    Args:
        budget: most that the sum may be, in the metric's own unit; 0.01 is one point.
        touched: names of the layers that count; None: all.

    Raises:
        InputError: none would be left.
    """
    counted = [
        one for one in table.at(technique, asked) if touched is None or any(name in touched for name in one.layers)
    ]
    trials = sorted(counted, key=lambda one: -one.lost.value)
    losses = [max(0.0, one.lost.value) for one in trials]
    out = next(count for count in range(len(trials) + 1) if sum(losses[count:]) <= budget + 1e-9)
    _, metric = of_key(table.metric)
    if trials and out == len(trials):
        raise InputError(
            f"{technique}.exclude auto would leave every layer out",
            expected=f"a layer that loses at most {metric.difference(budget)}{metric.step} by itself",
            found=f"{', '.join(trials[-1].layers)} loses {metric.difference(losses[-1])}{metric.step} at "
            f"{said(technique, trials[-1].amount)}, the least of all",
            todo=f"a higher {technique}.exclude_budget, a milder {technique}, or leave the section {technique} out",
        )  # fmt: skip
    return {
        name: f"by itself it loses {metric.difference(one.lost.value)}{metric.step} at "
        f"{said(technique, one.amount)} {_AUTO}"
        for one in trials[:out]
        for name in one.layers
    }
