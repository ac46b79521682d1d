"""How many channels each group keeps, so that the whole costs no more than it may, and which ones they are."""

from __future__ import annotations

import difflib
import fnmatch
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.compress.channel_counts import Widths
from pipeline.compress.channel_graph import ChannelGraph, Group
from pipeline.compress.importance import Scores
from pipeline.errors import InputError

# layers that are narrower may have any width: a multiple of 8 of so few is too coarse
WIDE = 16
# a group's widths are no closer than this part of it, which is what is told apart by accuracy or time
_FINEST = 32
# so many widths ahead are looked at: the next one alone may save nothing
_AHEAD = 4
# what the whole model costs at some widths: MACs, parameters, milliseconds
Cost = Callable[[Widths], float]
# group -> widths that it may have, rising, its own last
Allowed = Mapping[str, Sequence[int]]


def allowed(
    graph: ChannelGraph, names: Sequence[str], *, multiple: int | None, min_share: float,
    layers: Mapping[str, float | None],
) -> dict[str, tuple[int, ...]]:  # fmt: skip
    """Return the widths that each group may have.

    Args:
        graph: of the model before anything is removed.
        names: of all layers of the model.
        multiple: of which the widths of layers with 16 channels or more are multiples; None: any width.
        min_share: least share of its channels that a group keeps, in [0, 1].
        layers: the same for some layers, by name or pattern; None: all stay. Of several that meet in a group the
            largest holds.

    Raises:
        InputError: a name is not there, no channel of the model can be removed, or all are to stay.
    """
    _require_names(layers, [*names, *(group.name for group in graph.groups if group.name not in names)])
    if not graph.removable:
        raise InputError(
            "shrink: there is nothing to remove in this model",
            expected="channels that can be followed from the layer that makes them to all that read them",
            found="; ".join(f"{', '.join(some)}: {why}" for why, some in whole(graph).items()) or "no channels",
            todo="leave the section shrink out",
        )
    found = {group.name: _widths(group, multiple, _least(group, min_share, layers)) for group in graph.removable}
    if all(len(widths) == 1 for widths in found.values()):
        raise InputError(
            "shrink: all channels are to stay",
            expected="a group that may lose some",
            found=", ".join(f"{name} stays at {widths[-1]}" for name, widths in found.items()),
            todo="take names out of shrink.layers, or lower shrink.min_share or shrink.multiple",
        )
    return found


def whole(graph: ChannelGraph) -> dict[str, list[str]]:
    """Return reason -> names of the groups that stay whole for it."""
    reasons: dict[str, list[str]] = {}
    for group in graph.groups:
        if group.reason or group.size == 1:
            reasons.setdefault(group.reason or "it has one channel", []).append(group.name)
    return reasons


def _require_names(layers: Mapping[str, float | None], names: Sequence[str]) -> None:
    unknown = [pattern for pattern in layers if not fnmatch.filter(names, pattern)]
    if unknown:
        near = [close for pattern in unknown for close in difflib.get_close_matches(pattern, names, 1)]
        raise InputError(
            "shrink.layers names layers that the model does not have",
            expected=f"names or patterns of {', '.join(names)}",
            found=", ".join(unknown),
            todo=f"did you mean {', '.join(near)}?" if near else "correct them",
        )


def _least(group: Group, min_share: float, layers: Mapping[str, float | None]) -> float:
    shares = [
        1.0 if share is None else share
        for pattern, share in layers.items()
        if fnmatch.filter([*group.through, *group.layers, group.name], pattern)
    ]
    return max([min_share, *shares])


def _widths(group: Group, multiple: int | None, least: float) -> tuple[int, ...]:
    lowest = max(1, math.ceil(least * group.size - 1e-9))
    step = max(1, group.size // _FINEST)
    if multiple is not None and group.multiplicity and group.size * group.multiplicity >= WIDE:
        even = multiple // math.gcd(multiple, group.multiplicity)
        step = even * max(1, round(step / even))
    return (*(width for width in range(lowest, group.size) if width % step == 0), group.size)


@dataclass(frozen=True)
class _Search:
    """What the choice of widths rests on.

    Attributes:
        losses: group -> width -> what is lost at that width, at least 0.
        near: group -> those with which it meets in a layer; see `_near`.
    """

    cost: Cost
    losses: Mapping[str, Mapping[int, float]]
    near: Mapping[str, frozenset[str]]


def amount(number: float) -> str:
    """Return MACs, parameters or milliseconds in digits: whole ones whole, small ones with four figures."""
    return f"{number:,.0f}" if number >= 1000 or number == round(number) else f"{number:,.4g}"


def require_reachable(
    graph: ChannelGraph, allowed: Allowed, *, cost: Cost, budget: float, unit: str, hint: str = ""
) -> None:  # fmt: skip
    """Refuse a budget that is not met at the least widths that are allowed.

    Args:
        graph, allowed, cost, budget, unit: see `choose`.
        hint: why it may not be met, for the message.

    Raises:
        InputError: with what could be reached.
    """
    full = graph.full
    lowest = {name: min(widths[0], full[name]) for name, widths in allowed.items()}
    least, most = cost(lowest), cost({})
    if least > budget:
        some = [f"{name} {full[name]} to {width}" for name, width in lowest.items()]
        narrow = ", ".join([*some[:6], "..."] if len(some) > 6 else some)
        raise InputError(
            f"shrink: {100 * budget / most:.3g}% of {unit} cannot be reached",
            expected=f"at least {math.ceil(1000 * least / most) / 10:g} %, with every group as narrow as it may be",
            found=f"{amount(budget)} of {amount(most)}; the least is {amount(least)} ({narrow})"
            + (f"; {hint}" if hint else ""),
            todo="ask for less to be removed, or lower shrink.min_share, shrink.multiple or shares in shrink.layers",
        )


def choose(
    graph: ChannelGraph, scores: Scores, allowed: Allowed, *, cost: Cost, budget: float,
    selection: Literal["global", "uniform"], unit: str,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Return the positions of the channels that stay, sorted, for each group that loses some.

    Global: step by step the narrower width that loses the least for what it saves, until the budget is met. What is
    lost is the logarithm of the share of a group's scores that stays, in proportion to what the group costs, so that a
    group that has lost much gives the rest less easily. Uniform: the same share of each group. What the last step took
    beyond the budget is given back, most of it first.

    Args:
        graph, scores: of the model as it is now.
        allowed: see `allowed`; of the model as it came in.
        cost: of the whole model.
        budget: the most that it may cost then, in the cost's unit.
        unit: of the cost, for people.

    Raises:
        InputError: it costs more at the least widths that are allowed; with what could be reached.
    """
    full = graph.full
    options = {name: [width for width in widths if width < full[name]] for name, widths in allowed.items()}
    require_reachable(graph, allowed, cost=cost, budget=budget, unit=unit)
    losses = {name: _losses(name, some, full, scores, cost) for name, some in options.items()}
    search = _Search(cost, losses, _near(graph))
    found = _uniform(options, full, cost, budget) if selection == "uniform" else _global(search, options, full, budget)
    widths = _widened(search, options, found, full, budget)
    return {
        name: np.sort(np.argsort(-scores[name], kind="stable")[:width])
        for name, width in widths.items()
        if width < full[name]
    }


def _uniform(
    options: Mapping[str, Sequence[int]], full: Widths, cost: Cost, budget: float
) -> dict[str, int]:  # fmt: skip
    """Return the widest widths of one share: for each group the narrowest allowed one that has at least that share."""
    shares = sorted({width / full[name] for name, some in options.items() for width in some}, reverse=True)

    def at(share: float) -> dict[str, int]:
        return {
            name: next((width for width in some if width >= share * full[name] - 1e-9), full[name])
            for name, some in options.items()
        }

    low, high = 0, len(shares) - 1  # costs fall with the index; the last one is the narrowest, which is within
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if cost(at(shares[middle])) <= budget else (middle + 1, high)
    return at(shares[low])


def _global(search: _Search, options: Mapping[str, Sequence[int]], full: Widths, budget: float) -> dict[str, int]:
    widths = {name: full[name] for name in options}
    now, steps = search.cost(widths), dict[str, tuple[float, int]]()
    stale = set(options)
    while now > budget:
        for name in stale:
            steps[name] = _best(search, name, [w for w in options[name] if w < widths[name]], widths, now)
        name = min(steps, key=lambda one: (steps[one][0], one))
        if math.isinf(steps[name][0]):  # nothing saves by itself: what is narrowest for all does
            name = next(one for one in options if options[one] and widths[one] > options[one][0])
            steps[name] = 0.0, options[name][0]
        widths[name] = steps[name][1]
        now = search.cost(widths)
        stale = {one for one in search.near[name] | {name} if one in options}
    return widths


def _losses(name: str, some: Sequence[int], full: Widths, scores: Scores, cost: Cost) -> dict[int, float]:
    if not some:
        return {full[name]: 0.0}
    ranked = np.sort(scores[name])[::-1] + 1e-12
    share = np.cumsum(ranked) / ranked.sum()
    # what a group costs is what the whole costs less without most of it, at the same rate for all of it
    weight = max((cost({}) - cost({name: some[0]})) / (1 - some[0] / full[name]), 0.0)
    return {width: -weight * math.log(share[width - 1]) for width in (*some, full[name])}


def _best(search: _Search, name: str, narrower: Sequence[int], widths: Widths, now: float) -> tuple[float, int]:
    """Return the narrower width of a group that loses the least for each unit of cost that it saves, and how much."""
    found = (math.inf, widths[name])
    for width in narrower[-_AHEAD:]:
        saved = now - search.cost({**widths, name: width})
        if saved > 0:
            lost = search.losses[name][width] - search.losses[name][widths[name]]
            found = min(found, (lost / saved, width), key=lambda one: one[0])
    return found


def _near(graph: ChannelGraph) -> dict[str, frozenset[str]]:
    """Return for each group those whose channels meet its own in a layer, so that what they save depends on it."""
    members: dict[str, set[str]] = {group.name: set() for group in graph.groups}
    for layer in graph.layers:
        met = {name for size in (layer.inputs, layer.outputs) if size for name, _ in size.channels}
        for name in met:
            members[name] |= met
    return {name: frozenset(met) for name, met in members.items()}


def _widened(
    search: _Search, options: Mapping[str, Sequence[int]], widths: dict[str, int], full: Widths, budget: float
) -> dict[str, int]:  # fmt: skip
    """Give back, most of it first, what the budget leaves room for."""
    while True:
        found = [
            (search.losses[name][widths[name]] - search.losses[name][wider], name, wider)
            for name, wider in _wider(options, widths, full)
            if search.cost({**widths, name: wider}) <= budget
        ]
        if not found:
            return widths
        _, name, wider = max(found)
        widths[name] = wider


def _wider(options: Mapping[str, Sequence[int]], widths: Widths, full: Widths) -> Iterator[tuple[str, int]]:
    for name, some in options.items():
        wider = next((width for width in (*some, full[name]) if width > widths[name]), None)
        if wider is not None:
            yield name, wider
