"""What earlier stages made of kernels, zeros and clusters: read, kept in a training, and asserted after it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.compress import cluster_promise, clustering, keeping, pruning
from pipeline.compress.clustering import Clusters
from pipeline.compress.pruning import Zeros
from pipeline.report.model import Clustered, Model, read_models

_LITTLE = 0.005  # of a kernel's weights


@dataclass(frozen=True)
class Promises:
    """What is to stay.

    Attributes:
        zeros: layer name -> the share of zeros in each of its kernels that can be pruned.
        clusters: layer name -> how few distinct weights its kernels have.
        patterns: layer name -> label of the pattern in which its zeros stand, where they do.
    """

    zeros: Mapping[str, float] = field(default_factory=dict)
    clusters: Mapping[str, Clusters] = field(default_factory=dict)
    patterns: Mapping[str, str] = field(default_factory=dict)


def of(folder: Path, model: Any) -> Promises:
    """Return what the stage promises that made a model; what an imported one brings along counts as much.

    Args:
        folder: of the stage's artifact.
        model: the plain model in it.
    """
    said = told(read_models(folder)[0])
    return Promises(
        {**pruning.found_zeros(model), **said.zeros}, {**clustering.brought(model), **said.clusters}, said.patterns
    )  # fmt: skip


def told(described: Model) -> Promises:
    """Return what a stage's models.json promises."""
    return Promises(
        {layer.name: layer.target for layer in described.layers if layer.target is not None},
        {
            layer.name: Clusters(layer.clusters, layer.clustered)
            for layer in described.layers
            if layer.clusters and layer.clustered
        },
        {layer.name: layer.pattern for layer in described.layers if layer.pattern is not None},
    )


def narrowed(promises: Promises, model: Any) -> Promises:
    """Return what is left of promises in a model that lost channels: of zeros as many as there were, or fewer.

    Patterns are not among it: a recipe does not take channels out of kernels that have one.
    """
    has = pruning.found_zeros(model)
    zeros = {name: min(share, has[name]) for name, share in promises.zeros.items() if name in has}
    return Promises(zeros, promises.clusters)


def fewer_zeros(before: Promises, after: Promises) -> Iterator[str]:
    """Yield a sentence for each layer whose channels took more zeros with them than other weights."""
    for name, share in before.zeros.items():
        left = after.zeros.get(name, 0.0)
        if left < share - _LITTLE:
            yield f"{name} has {left:.1%} zeros now, and had {share:.1%}: the channels that went had more than the rest"


def keep(model: Any, promises: Promises, trained: Mapping[str, Any] | None = None) -> Zeros:
    """Let zeros and clusters stay in every further step of a training; return where the zeros are, for `require`.

    Args:
        model: whose layers are plain.
        trained: layer name -> the layer that is trained in its place.
    """
    keeping.kept(model, {name: clusters.per for name, clusters in promises.clusters.items()}, trained)
    return pruning.zeros(model)


def require(model: Any, promises: Promises, zeros: Zeros, *, stage: str) -> None:
    """Assert after a training that the zeros and clusters are still there.

    Raises:
        PromiseError: with every kernel that lost some.
    """
    pruning.require(model, promises.zeros, stage=stage, patterns=promises.patterns)
    pruning.require_kept(zeros, model, stage=stage)
    cluster_promise.require(model, promises.clusters, stage=stage)


def entries(model: Any, promises: Promises) -> dict[str, dict[str, Any]]:
    """Return layer name -> what its entry in models.json says of its clusters."""
    return cluster_promise.entries(model, promises.clusters)


def require_in_file(
    found: Mapping[str, np.ndarray], model: Any, promises: Promises, *, axes: Mapping[str, tuple[int, ...]],
    folded: Collection[str], scaled: bool, name: str,
) -> Clustered | None:  # fmt: skip
    """Assert on the kernels of an exported file what its stage promised; see `cluster_promise.require_in_file`.

    Returns how the file is clustered; None where nothing of it was to be.
    """
    if promises.zeros:
        pruning.require_in_file(found, pruning.pruned_kernels(model, promises.zeros), name=name)
        pruning.require_patterns_in_file(found, model, promises.patterns, name=name)
    if not promises.clusters:
        return None
    return cluster_promise.require_in_file(
        found, model, promises.clusters, axes=axes, folded=folded, scaled=scaled, name=name
    )
