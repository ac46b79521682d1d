"""What the graph in an exported file consists of: counted from the file, without running it."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Way = Literal["integer", "floating", "conversion", "fake_quant"]


@dataclass(frozen=True)
class Operators:
    """Operators of a file by the numbers in which they compute.

    Attributes:
        integer, floating: how many compute in int8 (or another narrow integer), and in float.
        floating_names: the kinds of the latter, with how many there are of each.
        conversions: how many only go from one to the other.
        fake_quant: how many imitate quantization in float.
        first: kind of the first one that computes; None where none does.
        first_integer: whether that is an integer one.
        kinds: every kind, what only handles shapes included -> {"count", "integer"}, the most frequent first.
        channel_axes: for each kernel of a convolution or a dense layer, by its name in `kernels`, the axes that count
            its output channels.
        tensorflow: the kinds that TensorFlow alone has kernels for (export.select_tf_ops), with how many there are.
    """

    integer: int = 0
    floating: int = 0
    floating_names: Mapping[str, int] = field(default_factory=dict)
    conversions: int = 0
    fake_quant: int = 0
    first: str | None = None
    first_integer: bool = False
    kinds: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    channel_axes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    tensorflow: Mapping[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return what report.json says of them; the channels are counted by `footprint.zero_channels`."""
        return {key: value for key, value in dataclasses.asdict(self).items() if key != "channel_axes"}


def count(found: Iterable[tuple[str, Way | None]], channel_axes: Mapping[str, tuple[int, ...]]) -> Operators:
    """Count operators, given as (kind, way) in the order in which they run; way None: it computes no values."""
    listed = list(found)
    ways = Counter(way for _, way in listed)
    first, way = next(((kind, way) for kind, way in listed if way in ("integer", "floating")), (None, None))
    names = Counter(kind for kind, way in listed if way == "floating")
    integers = Counter(kind for kind, way in listed if way == "integer")
    kinds = {
        kind: {"count": number, "integer": integers[kind]}
        for kind, number in Counter(kind for kind, _ in listed).most_common()
    }
    return Operators(
        integer=ways["integer"], floating=ways["floating"], floating_names=dict(names.most_common()),
        conversions=ways["conversion"], fake_quant=ways["fake_quant"], first=first, first_integer=way == "integer",
        kinds=kinds, channel_axes=dict(channel_axes),
    )  # fmt: skip
