"""What shrink removed, group by group: widths before and after, and what was left alone for which reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from pipeline.report.document import Report
from pipeline.report.model import Channels, Model
from pipeline.report.words import number, ratio

FEW = 16  # groups: more are drawn as a silhouette, and their table is folded
MOST_ROWS = 200
MOST_REASONS = 24
MOST_NAMES = 4  # of layers in a cell, and of groups in a line
_HEADED = "MultiHeadAttention"  # the kind of layer that loses whole heads
_ALL = 100.0  # of the silhouette's width and height, in the units of the SVG


@dataclass(frozen=True)
class LeftAlone:
    """Groups that share a reason: `names` are the first, `more` how many others, `width` that of all in words."""

    reason: str
    names: tuple[str, ...]
    more: int
    width: str


@dataclass(frozen=True)
class Column:
    """A group in the silhouette: both heights are centred; `left_alone` where it has a reason to be whole."""

    x: float
    width: float
    before: float
    after: float
    left_alone: bool


def shrunk(report: Report) -> list[Model]:
    """Return the models of which groups of channels are known."""
    return [model for model in report.models if model.channels]


def open_to_removal(model: Model) -> list[Channels]:
    """Return the groups that could lose channels, in the model's order, also those of which none had to go."""
    return [group for group in model.channels if not group.reason]


def left_alone(model: Model) -> list[LeftAlone]:
    """Return the groups that could not lose any, by their reasons in the order of the first of each."""
    by_reason: dict[str, list[Channels]] = {}
    for group in model.channels:
        if group.reason:
            by_reason.setdefault(group.reason, []).append(group)
    return [
        LeftAlone(
            reason, tuple(group.name for group in groups[:MOST_NAMES]), max(len(groups) - MOST_NAMES, 0),
            _width(groups, heads(model)),
        )
        for reason, groups in by_reason.items()
    ]  # fmt: skip


def lines(model: Model) -> list[str]:
    """Return `left_alone` in words, a line for each reason, of which the first few."""
    found = left_alone(model)
    said = [
        f"{', '.join(one.names)}{f' and {number(one.more)} more' if one.more else ''} ({one.width}): {one.reason}"
        for one in found[:MOST_REASONS]
    ]
    more = len(found) - MOST_REASONS
    return [*said, f"and {_count(more, 'reason')} more, in report.json"] if more > 0 else said


def layers(group: Channels) -> str:
    """Return the other layers that lose the same channels, the first few by name; empty where there are none."""
    others = [name for name in group.layers if name != group.name]
    if len(others) <= MOST_NAMES:
        return ", ".join(others)
    return f"{', '.join(others[: MOST_NAMES - 1])} and {len(others) - MOST_NAMES + 1} more"


def heads(model: Model) -> frozenset[str]:
    """Return the names of the groups that are heads of attention, which are no channels of what the layer gives."""
    kinds = {layer.name: layer.kind for layer in model.layers}
    inside = [group.name for group in model.channels if not group.layers]
    return frozenset(name for name in inside if _HEADED in {kinds.get(name), kinds.get(name.rpartition(".")[0])})


def widest(groups: Sequence[Channels]) -> int:
    """Return the channels of the widest group before anything was removed."""
    return max(group.widths[0] for group in groups)


def silhouette(model: Model) -> list[Column]:
    """Return a column for each group in the model's order, from 0 to 100 across; heights in equal steps of channels."""
    step, scale = _ALL / len(model.channels), _ALL / widest(model.channels)
    widths = [(scale * before, scale * after) for before, after in (group.widths for group in model.channels)]
    return [Column(i * step, 0.84 * step, *widths[i], bool(group.reason)) for i, group in enumerate(model.channels)]


def sentence(model: Model, report: Report) -> str:
    """Return what is gone in numbers: MACs and parameters where the model before is known, channels and groups."""
    line = [one for one in report.models if not one.variant]
    before = next((old for old, new in pairwise(line) if new is model), None)
    parts = [_fewer("MACs", before.macs, model.macs) if before else ""]
    parts += [_fewer("parameters", before.parameters, model.parameters) if before else ""]
    return f"{', '.join([*filter(None, parts), counts(model)])}."


def _fewer(name: str, before: int | None, after: int | None) -> str:
    if not before or not after:
        return ""
    return f"{number(before)} → {number(after)} {name} ({ratio(before / after)} fewer)"


def counts(model: Model) -> str:
    """Return how many channels are gone, from how many groups, and how many groups were left alone."""
    cut = [group for group in model.channels if group.after < group.before]
    inside = heads(model)
    amounts = [_gone([group for group in model.channels if group.name not in inside], "channels")]
    amounts += [_gone([group for group in model.channels if group.name in inside], "attention heads")] if inside else []
    spared = sum(bool(group.reason) for group in model.channels)
    kept = len(model.channels) - len(cut) - spared
    said = f"{' and '.join(amounts)} removed from {_count(len(cut), 'group')}"
    said += f", none from {kept} more" if kept else ""
    return said + (f", {_count(spared, 'group')} left alone" if spared else "")


def _gone(groups: Sequence[Channels], unit: str) -> str:
    before, after = (sum(group.widths[i] for group in groups) for i in (0, 1))
    return f"{number(before - after)} of {number(before)} {unit}"


def _width(groups: Sequence[Channels], inside: frozenset[str]) -> str:
    """Return how wide groups are together, in channels and in heads."""
    found = {"channel": 0, "head": 0}
    for group in groups:
        found["head" if group.name in inside else "channel"] += group.widths[0]
    return ", ".join(_count(count, unit) for unit, count in found.items() if count)


def _count(count: int, name: str) -> str:
    return f"{number(count)} {name}{'' if count == 1 else 's'}"


def of_layers(model: Model) -> dict[str, tuple[int, int]]:
    """Return layer name -> its output's channels before and after; of several groups in one layer their sum."""
    found: dict[str, tuple[int, int]] = {}
    for group in model.channels:
        for name in group.layers:
            before, after = found.get(name, (0, 0))
            found[name] = before + group.widths[0], after + group.widths[1]
    return found
