"""What is known of kernels behind shrink before anything is trained: which lengths their last two axes may have.

Trained weights decide how many channels stay. What holds whatever they decide is foreseen, all else is left open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from pipeline.compress import masks, shrink_bounds, support
from pipeline.compress.channel_counts import Size
from pipeline.compress.channel_graph import ChannelGraph
from pipeline.compress.pattern_config import Structured
from pipeline.compress.shrink_config import Config as Shrink
from pipeline.compress.widths import Allowed

# (layer name, weight name) -> the inputs and the outputs that the kernel may have
Lengths = Mapping[tuple[str, str], tuple[Set[int], Set[int]]]


@dataclass(frozen=True)
class Fit:
    """Which layers a pattern of zeros fits, of those whose kernels may have several lengths.

    Attributes:
        never: layer name -> why none of the lengths fits.
        perhaps: layer name -> which lengths do.
    """

    never: Mapping[str, str]
    perhaps: Mapping[str, str]


def widths(graph: ChannelGraph, allowed: Allowed, shrink: Shrink) -> dict[str, tuple[int, ...]]:
    """Return group -> the widths with which the target can be met, the others being as narrow as they may be.

    A time can be met with any of them: it is not known yet.
    """
    if shrink.latency is not None:
        return {name: tuple(some) for name, some in allowed.items()}
    cost = shrink_bounds.cost(shrink, graph, None)
    least = {name: some[0] for name, some in allowed.items()}
    budget = shrink.share * cost({})
    return {
        name: tuple(width for width in some if cost({**least, name: width}) <= budget + 1e-9) or (some[0],)
        for name, some in allowed.items()
    }


def lengths(
    graph: ChannelGraph, possible: Mapping[str, Sequence[int]]
) -> dict[tuple[str, str], tuple[Set[int], Set[int]]]:
    """Return the inputs and outputs that each kernel may have.

    Args:
        possible: group -> widths; a group that is not named stays whole.
    """
    return {
        (layer.name, weight.name): (
            _sums(graph.size(layer.name, weight, -2), possible, graph),
            _sums(graph.size(layer.name, weight, -1), possible, graph),
        )
        for layer in graph.layers
        for weight in layer.weights
        if len(weight.shape) > 1
    }


def fit(model: Any, pattern: Structured | None, known: Lengths) -> Fit:
    """Return what is known of a pattern's fit.

    Args:
        model: behind shrink.
        pattern: None: zeros may stand anywhere, and fit everywhere.
    """
    never: dict[str, str] = {}
    perhaps: dict[str, str] = {}
    for layer in model.layers if pattern is not None else ():
        assert pattern is not None
        units = masks.units(pattern)
        for name in support.prunable(layer) if masks.can_have(layer) else ():
            axes = known.get((layer.name, name))
            # where only an axis that any length fits is open, the guess says what will be
            if axes is None or all(len(some) == 1 for some, unit in zip(axes, units, strict=True) if unit > 1):
                continue
            wanted = [
                (what, unit, some)
                for what, unit, some in zip(("inputs", "outputs"), units, axes, strict=True)
                if any(length % unit for length in some)
            ]
            said = " and ".join(
                f"its {what} must be a multiple of {unit} and {_range(some)}" for what, unit, some in wanted
            )
            if any(all(length % unit for length in some) for _, unit, some in wanted):
                never[layer.name] = f"{NO_WIDTH}: {said}"
            elif wanted:
                perhaps[layer.name] = said
    return Fit(never, perhaps)


# how the reason begins why a layer has no pattern whatever shrink leaves of it
NO_WIDTH = "no width that shrink may leave fits the pattern"


def _sums(size: Size, possible: Mapping[str, Sequence[int]], graph: ChannelGraph) -> frozenset[int]:
    found = {size.fixed}
    for group, each in size.channels:
        some = possible.get(group, (graph.full[group],))
        found = {so_far + each * width for so_far in found for width in some}
    return frozenset(found)


def _range(lengths: Set[int]) -> str:
    return f"are {min(lengths)}" if len(lengths) == 1 else f"may be {min(lengths)} to {max(lengths)}"
