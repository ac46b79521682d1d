"""In which order the stages that make a model smaller may stand, and why not in another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

# those that a recipe can reorder, as they stand where it says nothing
REORDERED = ("distill", "shrink", "prune", "cluster", "quantize")
# stages that have no section of their own -> the one that they work for, right before which they stand
_HELPERS = {"profile": "shrink"}
# (earlier, later) -> why not the other way round
_RULES = {
    ("distill", "shrink"): "distill trains another model from its start, so that the removal would be lost",
    ("distill", "prune"): "distill trains another model from its start, so that the zeros would be lost",
    ("distill", "cluster"): "distill trains another model from its start, so that the clusters would be lost",
    ("distill", "quantize"): "distill trains another model from its start, so that what was learned for int8 would be "
    "lost",
    ("shrink", "quantize"): "the ranges of quantize are those of the channels that there are in the end",
    ("prune", "quantize"): "quantize learns with the zeros that are there; new ones would undo what it learned",
    ("prune", "cluster"): "new zeros would take weights out of their clusters",
    ("cluster", "quantize"): "quantize learns with the clusters that are there; new ones would undo what it learned",
}  # fmt: skip


def arranged(names: Sequence[str], order: Sequence[str] | None) -> tuple[str, ...]:
    """Return the names of stages in the order in which they are made.

    Args:
        names: in their usual order.
        order: those of `REORDERED` that are among them, in the order that is wanted; None: the usual one.
    """
    if order is None:
        return tuple(names)
    wanted = iter(order)
    found = [next(wanted) if name in REORDERED else name for name in names if name not in _HELPERS]
    for helper, helped in _HELPERS.items():
        if helper in names:
            found.insert(found.index(helped), helper)
    return tuple(found)


def problems(asked: Sequence[str], order: Sequence[str] | None) -> Iterator[str]:
    """Yield what is wrong with an order.

    Args:
        asked: the stages that the recipe has, in their usual order.
    """
    if order is None:
        return
    expected = [name for name in asked if name in REORDERED]
    if sorted(order) != sorted(expected):
        yield (
            f"order: expected {', '.join(expected) or 'nothing'}, each once, as the recipe has these sections; "
            f"found {', '.join(order) or 'nothing'}"
        )
        return
    for (earlier, later), reason in _RULES.items():
        if earlier in order and later in order and order.index(earlier) > order.index(later):
            yield f"order: {earlier} has to come before {later}: {reason}"
