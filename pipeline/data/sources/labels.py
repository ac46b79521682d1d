"""What is written in a column, or what folders are called, as the names of classes."""

from __future__ import annotations

import re
from collections.abc import Iterable

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
