"""What is written in a column, or what folders are called, as the names of classes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from pipeline.data.sources.cells import number
from pipeline.errors import InputError

# cells that a message names
_SHOWN = 5
_INTEGER = re.compile(r"[+-]?\d+")


def order(names: Iterable[str]) -> tuple[str, ...]:
    """Return names in the order of their numbers where all of them are integers, else of their characters.

    Names stay as they are written: "7" and "07" are two.
    """
    found = set(names)
    if found and all(_INTEGER.fullmatch(name) for name in found):
        return tuple(sorted(found, key=lambda name: (int(name), name)))
    return tuple(sorted(found))


def chosen(found: Iterable[str], stated: tuple[str, ...] | None) -> tuple[tuple[str, ...], list[str]]:
    """Return the names of the classes in their order, and those found that are none of them.

    Args:
        found: what stands where labels are.
        stated: `data.classes`: these names, in this order; or, where integers are found, what these stand for.
    """
    ordered = order(found)
    if stated is None:
        return ordered, []
    if not set(ordered) <= set(stated) and all(_INTEGER.fullmatch(name) for name in ordered):
        return stated, [name for name in ordered if str(int(name)) != name or int(name) not in range(len(stated))]
    return stated, [name for name in ordered if name not in stated]


def positions(found: Iterable[str], classes: tuple[str, ...]) -> dict[str, int]:
    """Return name -> position in `classes`, of names that `chosen` took for names or numbers of them."""
    by_name = {name: place for place, name in enumerate(classes)}
    wanted = set(found)
    return by_name if wanted <= set(classes) else {str(place): place for place in range(len(classes))}


def of_column(
    found: Sequence[str], stated: tuple[str, ...] | None, *, column: str, path: Path, rows: int, more: bool, todo: str
) -> tuple[str, ...]:
    """Return the names of the classes that the cells of a column are; see `chosen`.

    Args:
        found: the different cells, of `rows` in all.
        stated: `data.classes`.
        more: whether there are more different ones than are remembered.
        todo: what to do where they are no classes.

    Raises:
        InputError: they are numbers with fractions, or nearly each is another, or `stated` lacks some.
    """
    fractions = _fractions(found)
    if more or fractions or (len(found) > 2 and 2 * len(found) > rows):
        raise InputError(
            f"the column {column} of the data file {path} has no classes",
            expected="labels that come up again and again",
            found=f"{'more than ' if more else ''}{len(found)} different cells in {rows} rows, such as "
            + ", ".join(fractions[:3] or [repr(cell[:40]) for cell in found[:3]]),
            todo=todo,
        )  # fmt: skip
    classes, strange = chosen(found, stated)
    if strange:
        raise InputError(
            f"the column {column} of the data file {path} has labels that data.classes has not",
            expected=f"{', '.join(classes)}; or their positions, from 0 to {len(classes) - 1}",
            found=", ".join(map(repr, strange[:_SHOWN]))
            + (f" and {len(strange) - _SHOWN} more" if len(strange) > _SHOWN else ""),
            todo="complete data.classes, or leave it out",
        )  # fmt: skip
    return classes


def _fractions(found: Sequence[str]) -> list[str]:
    """Return the cells with fractions of a column of numbers; none where a cell is no number."""
    numbers = [number(cell) for cell in found]
    return [] if None in numbers else [cell for cell, one in zip(found, numbers, strict=True) if one and one % 1]
