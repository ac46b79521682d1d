"""What is asserted of clusters: on a plain model, and on the kernels that are read from an exported file."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np

from pipeline.compress import kernels, support
from pipeline.compress.clustering import Clusters, distinct
from pipeline.errors import PromiseError
from pipeline.report.model import Clustered


def entries(model: Any, asked: Mapping[str, Clusters]) -> dict[str, dict[str, Any]]:
    """Return layer name -> what its entry in models.json says of its clusters; see `report.model.Layer`."""
    return {
        name: {"clusters": clusters.most, "clustered": clusters.per, "distinct": max(_counts(layer, clusters).values())}
        for name, clusters in asked.items()
        for layer in (model.get_layer(name),)
    }


def require(model: Any, asked: Mapping[str, Clusters], *, stage: str) -> None:
    """Assert that no kernel of a plain model, or none of its channels, has more distinct weights than asked.

    Args:
        asked: layer name -> its clusters; a layer that is not in the model is refused too.

    Raises:
        PromiseError: with every kernel that has more.
    """
    broken = [
        f"{layer.name}/{name} has {found}{_where(clusters)} and was to have {clusters.most}"
        for layer, clusters in ((model.get_layer(name), clusters) for name, clusters in asked.items())
        for name, found in _counts(layer, clusters).items()
        if found > clusters.most
    ]
    if broken:
        raise PromiseError(
            f"{stage}: kernels have more distinct weights than were promised", found="; ".join(broken),
            todo="report this model",
        )  # fmt: skip


def require_in_file(
    found: Mapping[str, np.ndarray], model: Any, asked: Mapping[str, Clusters], *, axes: Mapping[str, tuple[int, ...]],
    folded: Collection[str], scaled: bool, name: str,
) -> Clustered:  # fmt: skip
    """Assert the promise of clustering on the kernels of an exported file.

    Formats rename and transpose kernels, but none changes how many weights one has: the kernels of each size are held
    against as many of the model's, those with the most distinct weights first. Where a file gives each channel a factor
    of its own, it is the distinct weights of its channels that are counted.

    Args:
        found: kernels as they are stored, by name.
        model: plain, that the file holds.
        asked: layer name -> its clusters.
        axes: name of a kernel in the file -> the axes that count its output channels.
        folded: names of layers whose kernels hold the factors of a batch normalization behind them, if one is there.
        scaled: whether integers have a scale for each channel that training did not know.
        name: of the file, for the message.

    Raises:
        PromiseError: with every kernel that has more.
    """
    allowed: dict[int, list[tuple[float, bool, str]]] = {}
    for layer, kernel, values in kernels.named(model):
        clusters = asked.get(layer.name) if kernel in support.clusterable(layer) else None
        apart = clusters is not None and (
            clusters.per == "channel" or scaled or (layer.name in folded and _normalized(layer))
        )
        most = clusters.most if clusters else math.inf
        allowed.setdefault(values.size, []).append((most, apart, f"{layer.name}/{kernel}"))
    broken, held, most_found = [], 0, 0
    for size, wanted in allowed.items():
        wanted.sort(key=lambda one: -one[0])
        by_channel = any(apart for _, apart, _ in wanted)
        same = (_count(key, values, axes, by_channel) for key, values in found.items() if values.size == size)
        for has, (most, _, kernel) in zip(sorted(same, reverse=True), wanted, strict=False):
            if has > most:
                broken.append(f"{kernel} has {has:.0f} of {most:.0f}{' in a channel' if by_channel else ''}")
            if most < math.inf:
                held, most_found = held + 1, max(most_found, int(has))
    broken += _cut(found, allowed)
    if broken:
        raise PromiseError(
            f"{name}: the file has more distinct weights in its kernels than the model", found="; ".join(broken),
            todo="leave that precision out of the recipe's export section",
        )  # fmt: skip
    return Clustered(kernels=held, distinct=most_found)


def _cut(found: Mapping[str, np.ndarray], allowed: Mapping[int, list[tuple[float, bool, str]]]) -> Iterator[str]:
    """Yield the pieces with too many of kernels that a format cuts up, as LiteRT does a recurrent one by its gates."""
    sizes = {values.size for values in found.values()}
    cut = [one for size, wanted in allowed.items() if size not in sizes for one in wanted]
    if not cut or any(apart for _, apart, _ in cut):
        return
    most = max(limit for limit, _, _ in cut)
    for key, values in found.items():
        if values.size not in allowed and (has := distinct(values, per_channel=False)) > most:
            yield f"{key}, a piece of one, has {has} of {most:.0f}"


def _count(name: str, values: np.ndarray, axes: Mapping[str, tuple[int, ...]], by_channel: bool) -> int:
    """Return a file's distinct weights; 1 where they are a channel's and nobody knows which axis counts those."""
    if not by_channel:
        return distinct(values, per_channel=False)
    if name not in axes:
        return 1
    moved = np.moveaxis(values, axes[name], range(-len(axes[name]), 0))
    outputs = math.prod(moved.shape[values.ndim - len(axes[name]) :])
    return distinct(moved.reshape(-1, outputs), per_channel=True)


def _normalized(layer: Any) -> bool:
    """Return whether a batch normalization directly follows a layer."""
    return any(type(node.outbound_layer).__name__ == "BatchNormalization" for node in layer._outbound_nodes)


def _counts(layer: Any, clusters: Clusters) -> dict[str, int]:
    """Return kernel -> how many distinct weights it has, or the output channel of it that has most."""
    return {
        name: distinct(values, per_channel=clusters.per == "channel")
        for name, values in kernels.of(layer).items()
        if name in support.clusterable(layer)
    }


def _where(clusters: Clusters) -> str:
    return " in one channel" if clusters.per == "channel" else ""
