"""How many channels a model has, and what is said of those that went."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipeline.compress.widths import amount

if TYPE_CHECKING:
    from pipeline.compress.channel_graph import ChannelGraph


def said(had: Mapping[str, float], has: Mapping[str, float]) -> str:
    """Return what a model takes now of what it took."""
    words = {"macs": "MACs", "parameters": "parameters", "latency": "ms by the table of layer times"}
    return ", ".join(
        f"{amount(had[name])} to {amount(has[name])} {words[name]} ({has[name] / had[name]:.1%})" for name in had
    )


def positions(graph: ChannelGraph, widths: Mapping[str, int]) -> int:
    """Return how many channels there are in the layers that make them; an attention's heads are none."""
    return sum(widths[group.name] * group.multiplicity for group in graph.groups)


def left(graph: ChannelGraph, full: Mapping[str, int]) -> str:
    """Return how many channels went.

    Args:
        graph: as it is now.
        full: group -> channels that there were.
    """
    fewer = sum(graph.full[name] < count for name, count in full.items())
    whole = positions(graph, full)
    return f"{whole - positions(graph, graph.full)} of {whole} channels go, in {fewer} of {len(full)} groups"
