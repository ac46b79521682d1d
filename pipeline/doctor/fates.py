"""What each stage does with each layer of a model, and the structure of the model that it leaves.

Every function asks what its stage asks, and raises what its stage would raise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pipeline.compress import (
    clustering,
    excluding,
    fake_quant,
    fusing,
    kernels,
    lowering,
    pruning,
    removal,
    shrink_bounds,
    support,
    widths,
)
from pipeline.compress.pattern_config import label
from pipeline.doctor import after_shrink
from pipeline.errors import InputError
from pipeline.report.forecast import How
from pipeline.stages import prune as pruning_stage

if TYPE_CHECKING:
    from pipeline.compress.cluster_config import Config as Cluster
    from pipeline.compress.clustering import Clusters
    from pipeline.compress.prune_config import Config as Prune
    from pipeline.compress.quantize_config import Config as Quantize
    from pipeline.compress.sensitivity_table import Technique
    from pipeline.compress.shrink_config import Config as Shrink
    from pipeline.fit.config import Compressing

# (how, made, reason) of a layer
Told = tuple[How, str, str]
_NO_KERNEL: Told = ("nothing", "", "")
# what decides later what becomes of a layer
By = Literal["sensitivity", "shrink"]


@dataclass(frozen=True)
class Passed:
    """A model behind a stage.

    Attributes:
        model: with the layers that it then has; its weights say nothing.
        told: layer name -> what the stage does with it, for the layers of the model as the stage works on it.
        zeros: layer name -> share of zeros that the stage makes in its kernels.
        clusters: layer name -> how few distinct weights it leaves in each of them.
        decided: layer name -> what decides later whether that really becomes of it.
        lengths: of shrink, which lengths the axes of kernels may have; what is in the model is a guess.
        doubts: what may turn out not to work, each as a message.
    """

    model: Any
    told: Mapping[str, Told]
    zeros: Mapping[str, float] = field(default_factory=dict)
    clusters: Mapping[str, Clusters] = field(default_factory=dict)
    decided: Mapping[str, Sequence[By]] = field(default_factory=dict)
    lengths: after_shrink.Lengths = field(default_factory=dict)
    doubts: Sequence[str] = ()


def fitted(model: Any) -> Passed:
    """Return what a training does: weights that are not frozen learn."""
    return Passed(
        model,
        {
            layer.name: ("yes", "", "")
            if layer.trainable_weights
            else ("whole", "", "its weights are frozen")
            if layer.weights
            else _NO_KERNEL
            for layer in model.layers
        },
    )


def shrunk(model: Any, shrink: Shrink) -> Passed:
    """Return which layers can lose channels, and a model with about as many fewer as are asked for.

    Which channels go, and how many of each layer, is decided by trained weights; here each group loses the same share.

    Raises:
        InputError: as `stages/shrink.run`.
    """
    graph, allowed, reasons = shrink_bounds.check(model, shrink)
    told: dict[str, Told] = {layer.name: _NO_KERNEL for layer in model.layers}
    possible = after_shrink.widths(graph, allowed, shrink)
    chosen: tuple[By, ...] = ("sensitivity", "shrink") if shrink.exclude == "auto" else ("shrink",)
    decided: dict[str, Sequence[By]] = {}
    for group in sorted(graph.groups, key=lambda one: one.name not in reasons):
        for name in group.layers:
            if group.name not in reasons:
                told[name] = ("yes", "fewer channels", "")
                # without its full width among the possible ones, only how many it loses is open
                if shrink.exclude == "auto" or group.size in possible[group.name]:
                    decided[name] = chosen
            elif told[name] == _NO_KERNEL:
                told[name] = ("whole", "", reasons[group.name])
    cost: widths.Cost = graph.parameters if shrink.what == "parameters" else graph.macs
    scores = {group.name: np.ones(group.size) for group in graph.groups}
    try:
        kept = widths.choose(
            graph, scores, allowed, cost=cost, budget=shrink.share * cost({}), selection="uniform", unit=shrink.unit
        )
    except InputError:
        # a time can be out of reach as MACs
        kept = {name: np.arange(some[0]) for name, some in allowed.items() if some[0] < graph.full[name]}
    # what is measured can leave a group as wide as it is
    if shrink.exclude == "auto":
        possible = {name: (*some, graph.full[name]) for name, some in possible.items()}
    return Passed(
        removal.remove(model, graph, kept), told, decided=decided, lengths=after_shrink.lengths(graph, possible)
    )


def pruned(model: Any, prune: Prune, lengths: after_shrink.Lengths) -> Passed:
    """Return which layers get zeros.

    Args:
        lengths: which axes of kernels may have other lengths than in the model.

    Raises:
        InputError: as `stages/prune.run`, whatever the lengths are.
    """
    excluded = _excluded(model, prune, "prune")
    fit = after_shrink.fit(model, prune.structured(), lengths)
    left = {name: why for name, why in pruning_stage.left(model, prune).items() if name not in fit.perhaps}
    left |= {name: why for name, why in fit.never.items() if name in left}
    aims = pruning.targets(model, prune.final_sparsity, excluding.without(prune.layers, excluded), left)
    left |= excluded
    decided = {
        name: (*(("sensitivity",) if prune.exclude == "auto" else ()), *(("shrink",) if name in fit.perhaps else ()))
        for name in aims
    }

    def told(layer: Any) -> Told:
        if layer.name in aims:
            return "yes", f"{aims[layer.name]:.0%} zeros", ""
        if reason := support.dense(layer):
            return "dense", "", reason
        if support.prunable(layer):
            return "dense", "", left.get(layer.name, "the recipe leaves it out (prune.layers)")
        return _NO_KERNEL

    return Passed(
        model, {layer.name: told(layer) for layer in model.layers},
        zeros=aims, decided=decided, doubts=_doubts(prune, aims, fit.perhaps),
    )  # fmt: skip


def _doubts(prune: Prune, aims: Mapping[str, float], perhaps: Mapping[str, str]) -> list[str]:
    """Return what stands against a pattern of zeros where it is open whether any layer fits it, or one that must."""
    by_name = [name for name in perhaps if prune.layers.get(name)]
    if not by_name and set(aims) - set(perhaps):
        return []
    names = by_name or list(aims)
    return [
        str(
            InputError(
                f"prune.pattern {label(pattern)} may {'not fit all' if by_name else 'fit none'} of the layers that are "
                "to have it, once shrink has chosen how many channels stay: the run would end there",
                expected="; ".join(f"{name}: {perhaps[name]}" for name in names),
                found="widths that trained weights decide",
                todo="keep such widths by shrink.layers (null: all channels stay), or take another pattern, or none: "
                "prune.pattern={name: unstructured}",
            )
        )
        for pattern in [prune.structured()]
        if pattern is not None
    ]


def clustered(model: Any, cluster: Cluster) -> Passed:
    """Return which layers get few distinct weights.

    Raises:
        InputError: as `stages/cluster.run`.
    """
    excluded = _excluded(model, cluster, "cluster")
    layers = excluding.without(cluster.layers, excluded)
    aims = clustering.targets(model, cluster.clusters, layers, per_channel=cluster.per_channel)

    def told(layer: Any) -> Told:
        if layer.name in aims:
            return "yes", f"{aims[layer.name].most} weights per {aims[layer.name].per}", ""
        if reason := support.spread(layer):
            return "unclustered", "", reason
        if support.clusterable(layer):
            return "unclustered", "", excluded.get(layer.name, "the recipe leaves it out (cluster.layers)")
        return _NO_KERNEL

    prepared, _ = clustering.prepared(model, [name for name, one in aims.items() if one.per == "tensor"])
    return Passed(
        prepared, {layer.name: told(layer) for layer in prepared.layers},
        clusters=aims, decided=dict.fromkeys(aims, ("sensitivity",)) if cluster.exclude == "auto" else {},
    )  # fmt: skip


def quantized(model: Any, quantize: Quantize, clusters: Mapping[str, Clusters] | None = None) -> Passed:
    """Return which layers compute in int8, as `compress.lowering` writes them.

    Args:
        clusters: layer name -> how few distinct weights its kernels have; those of a whole kernel need one range.

    Raises:
        InputError: no layer with a kernel can be quantized.
    """
    excluded = _excluded(model, quantize, "quantize")
    origins: dict[str, str] = {}
    lowered, _ = lowering.lower(model, origins)
    out = excluding.lowered(excluded, origins)
    left = fake_quant.floating(lowered, fusing.with_operators(lowered, out))
    fake_quant.require_possible(lowered, left)
    whole = {name for name, one in (clusters or {}).items() if one.per == "tensor"}

    def told(layer: Any) -> Told:
        if layer.name in left:
            return "float", "", left[layer.name]
        wide = kernels.of(layer) and layer.name not in whole
        return "yes", support.row(layer).quantized if wide else "int8", ""

    decided: dict[str, Sequence[By]] = {}
    if quantize.exclude == "auto":
        # what is left out takes with it what is one operator with it
        held = excluding.lowered({layer.name: "" for layer in model.layers if kernels.of(layer)}, origins)
        decided = {name: ("sensitivity",) for name in fusing.with_operators(lowered, held) if name not in left}
    return Passed(lowered, {layer.name: told(layer) for layer in lowered.layers}, decided=decided)


def _excluded(model: Any, config: Compressing, technique: Technique) -> dict[str, str]:
    """Return layer name -> why the recipe leaves it out; which "auto" will is measured on a trained model."""
    return excluding.named(config.exclude, [layer.name for layer in model.layers], technique)


PASSING: Mapping[str, Callable[[Any, Any], Passed]] = {"shrink": shrunk, "cluster": clustered}


def refused(model: Any, error: InputError) -> Passed:
    """Return a model that a stage refuses, as it came."""
    return Passed(model, {layer.name: ("refused", "", error.what) for layer in model.layers})
