"""What a section `shrink` allows of a model: how narrow each group may be, why some stay whole, and what that costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.compress import channel_graph, excluding, widths
from pipeline.compress.channel_graph import ChannelGraph
from pipeline.compress.shrink_config import Config
from pipeline.compress.widths import Allowed, Cost
from pipeline.measuring import footprint, layer_times
from pipeline.measuring.layer_times import LayerTimes

# why a group keeps all its channels, besides what the graph says
_HELD = "shrink.layers, min_share and multiple allow no fewer"


def check(model: Any, shrink: Config) -> tuple[ChannelGraph, Allowed, dict[str, str]]:
    """Refuse a section that is impossible for a model, trained or not; of a time only its layers are checked.

    Returns:
        The model's channels, the widths that each group may have, and why groups keep all of theirs in any case.

    Raises:
        InputError: as `stages/shrink.run`.
    """
    graph = channel_graph.follow(model)
    left = excluding.named(shrink.exclude, [one.name for one in model.layers], "shrink")
    allowed = possible(model, graph, shrink, left)
    if shrink.latency is None:
        require_reachable(graph, allowed, shrink, amounts(model, graph, None), None)
    return graph, allowed, reasons(graph, allowed, left)


def possible(model: Any, graph: ChannelGraph, shrink: Config, left: Iterable[str]) -> Allowed:
    """Return group -> the widths that the section lets it have; the layers in `left` keep theirs."""
    names = [layer.name for layer in model.layers]
    return widths.allowed(
        graph, names, multiple=shrink.multiple, min_share=shrink.min_share,
        layers=excluding.without(shrink.layers, left),
    )  # fmt: skip


def faster(graph: ChannelGraph, allowed: Allowed, times: LayerTimes | None) -> Allowed:
    """Leave out the widths that take as long as a wider one, where times were measured."""
    return allowed if times is None else layer_times.undominated(graph, times, allowed)


def require_reachable(
    graph: ChannelGraph, allowed: Allowed, shrink: Config, had: Mapping[str, float], times: LayerTimes | None
) -> None:
    """Refuse a target that even the narrowest widths miss; `had` is what the model takes, as `amounts`."""
    budget = shrink.share * had[shrink.what]
    widths.require_reachable(
        graph, allowed, cost=cost(shrink, graph, times), budget=budget, unit=shrink.unit,
        hint=layer_times.hint(times) if times else "",
    )  # fmt: skip


def reasons(graph: ChannelGraph, allowed: Allowed, left: Mapping[str, str]) -> dict[str, str]:
    """Return group -> why it keeps all its channels, for each that does so whatever the target is."""
    found = {name: reason for reason, names in widths.whole(graph).items() for name in names}
    through = {group.name: (*group.through, *group.layers, group.name) for group in graph.groups}
    return found | {
        name: next((left[one] for one in through[name] if one in left), _HELD)
        for name, some in allowed.items()
        if len(some) == 1
    }


def cost(shrink: Config, graph: ChannelGraph, times: LayerTimes | None) -> Cost:
    """Return what gives the target's amount at other widths."""
    if times is not None:
        return layer_times.cost(graph, times)
    return graph.macs if shrink.what == "macs" else graph.parameters


def amounts(model: Any, graph: ChannelGraph, times: LayerTimes | None) -> dict[str, float]:
    """Return what a model takes, counted anew on the model itself; its time is that of the table, in ms."""
    counted: dict[str, float] = {"macs": footprint.macs(model).total, "parameters": footprint.parameters(model)}
    if times is None:
        return counted
    return counted | {"latency": layer_times.cost(graph, times)({})}
