"""Weight clustering (Deep Compression: Han, Mao and Dally, 2016): each kernel is left with a few distinct weights.

Centroids start by k-means++ (Arthur and Vassilvitskii, 2007). They learn on as shared weights; see `keeping`.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from pipeline.compress import folding, kernels, signs, support
from pipeline.errors import InputError
from pipeline.legacy_keras import load as load_keras

# a layer that comes with at most so many distinct weights, each so often in the mean, is taken for clustered
_MOST = 256
_AGAIN = 4
# more weights than these show nothing new of where to start
_SAMPLED = 65536
# of k-means, where it does not end before
_ROUNDS = 300


@dataclass(frozen=True)
class Clusters:
    """How few distinct weights a layer's kernels have.

    Attributes:
        most: in each kernel ("tensor"), or in each of its output channels, the last axis ("channel").
    """

    most: int
    per: Literal["tensor", "channel"] = "tensor"


def targets(model: Any, clusters: int, by_layer: Mapping[str, int | None], *, per_channel: bool) -> dict[str, Clusters]:
    """Return layer name -> its clusters, for every layer that is clustered.

    Args:
        clusters: most distinct weights, for all layers that nothing else is said of.
        by_layer: a layer's name, or a pattern of names (`conv_*`), -> its own number; None leaves it as it is. The last
            pattern that fits decides.
        per_channel: whether each output channel has clusters of its own, where the last axis counts them.

    Raises:
        InputError: a name that fits no layer, or a number for a layer that cannot be clustered.
    """
    names = [layer.name for layer in model.layers]
    unknown = [pattern for pattern in by_layer if not fnmatch.filter(names, pattern)]
    if unknown:
        raise InputError(
            "cluster.layers names what is no layer of the model", expected=f"names or patterns of {', '.join(names)}",
            found=", ".join(unknown), todo="correct the name",
        )  # fmt: skip
    cannot = {
        layer.name: support.spread(layer) or "it has no kernel"
        for layer in model.layers
        if by_layer.get(layer.name) and not support.clusterable(layer)
    }
    if cannot:
        raise InputError(
            "cluster.layers asks for clusters in layers that cannot be clustered",
            found="; ".join(f"{name}: {reason}" for name, reason in cannot.items()), todo="leave them out",
        )  # fmt: skip
    found: dict[str, Clusters] = {}
    for layer in model.layers:
        most: int | None = clusters
        for pattern, own in by_layer.items():
            if fnmatch.fnmatchcase(layer.name, pattern):
                most = own
        if most and support.clusterable(layer):
            channels = per_channel and not type(layer).__name__.endswith("Transpose")
            found[layer.name] = Clusters(most, "channel" if channels else "tensor")
    if not found:
        raise InputError(
            "there is nothing to cluster in the model", expected="a layer with a kernel that is not excluded",
            found=f"{len(names)} layers, none of them to be clustered: {', '.join(names)}",
            todo="leave the section cluster out",
        )  # fmt: skip
    return found


def prepared(model: Any, names: Iterable[str]) -> tuple[Any, dict[str, str]]:
    """Return an equal model whose clusters will be those of its int8 file, weights included.

    What a batch normalization multiplies a kernel with when it becomes part of it would make more weights of few: one
    behind a dense layer is folded into that first, and one behind a convolution has no negative scales (see `signs`).

    Args:
        model: it is left as it is.
        names: of the layers that are clustered per tensor.

    Returns:
        The model, and the names of batch normalizations that are gone -> the dense layers that they are in.
    """
    names = list(names)
    copy, into = folding.fold(model)
    if not set(into.values()) & set(names):
        copy, into = load_keras().models.clone_model(model), {}
        copy.set_weights(model.get_weights())
    signs.move(copy, names)
    return copy, into


def apply(model: Any, asked: Mapping[str, Clusters], seed: int) -> None:
    """Cluster a model's kernels in place.

    Args:
        asked: what `targets` says.
        seed: of k-means++, the same for each kernel: what others have does not matter.
    """
    for layer in map(model.get_layer, asked):
        clusters = asked[layer.name]
        for name, weight in kernels.variables(layer).items():
            if name in support.clusterable(layer):
                per_channel = clusters.per == "channel"
                weight.assign(cluster(weight.numpy(), clusters.most, per_channel=per_channel, seed=seed))


def brought(model: Any) -> dict[str, Clusters]:
    """Return layer name -> the clusters that its kernels have already, of which no stage says anything.

    Few weights that occur again and again are no accident in trained numbers of 32 bits.
    """
    few = {}
    for layer in model.layers:
        arrays = [values for name, values in kernels.of(layer).items() if name in support.clusterable(layer)]
        if not arrays or not all(_occurs_again(values) for values in arrays):
            continue
        # an int8 file keeps no more than a channel's where it negates some: see `signs`
        per_channel = signs.negative(layer)
        most = max(distinct(values, per_channel=per_channel) for values in arrays)
        few[layer.name] = Clusters(max(2, most), "channel" if per_channel else "tensor")
    return few


def _occurs_again(values: np.ndarray) -> bool:
    other = values[values != 0]
    count = distinct(other, per_channel=False)
    # a single weight everywhere is how a layer starts
    least = 2 if other.size == values.size else 1
    return bool(least <= count <= min(_MOST, other.size // _AGAIN))


def cluster(values: np.ndarray, clusters: int, *, per_channel: bool, seed: int) -> np.ndarray:
    """Return a kernel with at most so many distinct weights, float32 of the same shape; zeros stay zeros.

    Args:
        values: kernel, float32, rank 2 or more, output channels on the last axis.
        clusters: most distinct weights, 2 or more; zero counts as one where there are zeros.
        per_channel: whether each output channel has clusters of its own, or the kernel as a whole.
        seed: of k-means++.
    """
    if not per_channel:
        return _clustered(values, clusters, seed)
    channels = [_clustered(values[..., channel], clusters, seed) for channel in range(values.shape[-1])]
    return np.stack(channels, axis=-1)


def distinct(values: np.ndarray, *, per_channel: bool) -> int:
    """Return how many distinct weights a kernel has, or its output channel (last axis) that has most."""
    if not per_channel:
        return int(np.unique(values).size)
    return max(int(np.unique(values[..., channel]).size) for channel in range(values.shape[-1]))


def _clustered(values: np.ndarray, clusters: int, seed: int) -> np.ndarray:
    other = np.sort(values[values != 0].astype(np.float64))
    room = clusters - (other.size < values.size)
    if np.unique(other).size <= room:
        return values
    centers = _centers(other, room, seed).astype(np.float32)
    # a kernel without zeros gets none: what is zero once stays zero, and is no cluster that learns
    centers = np.where(centers == 0, np.abs(other).min().astype(np.float32), centers)
    nearest = np.searchsorted((centers[1:] + centers[:-1]) / 2, values)
    return np.where(values == 0, np.float32(0), centers[nearest]).astype(np.float32)


def _centers(ordered: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return where k-means ends that starts by k-means++, float64 in ascending order.

    Of numbers in their order each cluster is a run, which is cut in the middle between two centers: Lloyd's algorithm
    without a distance. scikit-learn's own adds up in several threads, so that its last digits differ from call to call.
    """
    from sklearn.cluster import kmeans_plusplus

    sample = ordered
    if sample.size > _SAMPLED:
        sample = np.random.default_rng(seed).choice(sample, _SAMPLED, replace=False)
    centers = np.sort(kmeans_plusplus(sample.reshape(-1, 1), count, random_state=seed)[0].ravel())
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    for _ in range(_ROUNDS):
        edges = np.searchsorted(ordered, (centers[1:] + centers[:-1]) / 2)
        edges = np.concatenate([[0], edges, [ordered.size]])
        sizes = np.diff(edges)
        moved = np.where(sizes > 0, np.diff(sums[edges]) / np.maximum(sizes, 1), centers)
        if np.array_equal(moved, centers):
            break
        centers = moved
    return centers
