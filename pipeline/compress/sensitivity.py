"""What is done to one layer at a time, to see what it loses by itself: no weight learns on.

The layer-by-layer scan of Li et al. (2017, section 3.2) for each technique. One compiled model answers all of it:
weights are swapped and put back, and what an int8 layer hands on is rounded behind a switch. Channels are not taken out
but made zero, which comes to the same, wherever no layer computes over all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from pipeline.compress import clustering, fusing, kernels, removal, support
from pipeline.compress.channel_graph import ChannelGraph, Group
from pipeline.compress.importance import Scores

BITS = 8
# in these a channel's output depends on how many others there are, or that is a number of their config
_MIXING = (
    "Attention", "AdditiveAttention", "GroupNormalization", "LayerNormalization", "MultiHeadAttention", "Softmax",
    "UnitNormalization",
)  # fmt: skip


@dataclass(frozen=True)
class Change:
    """One layer, or those that lose the same channels, at one amount of a technique.

    Attributes:
        amount: see `sensitivity_table.Trial`.
        layers: that it is about.
        weights: (layer, index in its weights) -> new values.
        ranges: layer -> (low, high) of what it gives, rounded to int8; low <= 0 <= high.
        smaller: makes another model, where values alone cannot say it.
        parameters, macs: see `sensitivity_table.Trial`.
    """

    amount: float
    layers: tuple[str, ...]
    weights: Mapping[tuple[str, int], np.ndarray] = field(default_factory=dict)
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    smaller: Callable[[], Any] | None = None
    parameters: int = 0
    macs: int | None = 0


def prunings(layer: Any, shares: Iterable[float], macs: int | None) -> Iterator[Change]:
    """Yield a layer with the smallest weights of each kernel zero.

    Args:
        shares: of zeros, in (0, 1).
        macs: of the layer; None where unknown.
    """
    found = _kernels(layer, support.prunable(layer))
    size = sum(values.size for values in found.values())
    for share in shares:
        pruned = {place: _pruned(values, share) for place, values in found.items()}
        zeros = sum(int(np.count_nonzero(found[place]) - np.count_nonzero(pruned[place])) for place in found)
        yield Change(
            share, (layer.name,), _of(layer, pruned), parameters=zeros,
            macs=None if macs is None else round(macs * zeros / size),
        )  # fmt: skip


def _pruned(values: np.ndarray, share: float) -> np.ndarray:
    flat = values.copy().ravel()
    flat[np.argsort(np.abs(flat), kind="stable")[: round(share * flat.size)]] = 0
    return flat.reshape(values.shape)


def clusterings(layer: Any, numbers: Iterable[int], *, per_channel: bool, seed: int) -> Iterator[Change]:
    """Yield a layer with so many distinct weights in each kernel; see `clustering.cluster`."""
    found = _kernels(layer, support.clusterable(layer))
    for number in numbers:
        clustered = {
            place: clustering.cluster(values, number, per_channel=per_channel, seed=seed)
            for place, values in found.items()
        }
        yield Change(number, (layer.name,), _of(layer, clustered))


def quantization(layer: Any, ranges: Mapping[str, tuple[float, float]]) -> Change:
    """Return a layer whose kernels are int8, and what its operator gives.

    Args:
        ranges: of layers' outputs; see `ranges`.
    """
    rounded = {}
    for place, values in _kernels(layer, kernels.of(layer)).items():
        depthwise = kernels.short(layer.weights[place]).startswith("depthwise")
        rounded[place] = _rounded(
            values, _factor(layer, values, depthwise=depthwise), _axes(layer, values.ndim, depthwise=depthwise)
        )
    (end,) = ends([layer])
    return Change(BITS, (layer.name,), _of(layer, rounded), {end: ranges[end]})


def ends(layers: Iterable[Any]) -> list[str]:
    """Return the names of the layers whose outputs have a range when these layers are int8."""
    return [[layer, *fusing.behind(layer)][-1].name for layer in layers]


def _rounded(values: np.ndarray, factor: np.ndarray, axes: tuple[int, ...] | None) -> np.ndarray:
    """Return a kernel rounded to 255 steps, symmetric, as it is with the batch normalization folded in.

    Args:
        factor: what the batch normalization multiplies it by.
        axes: over which weights share a range; None: all.
    """
    folded = values * factor
    step = np.abs(folded).max(axis=axes, keepdims=True) / 127
    back = np.rint(folded / np.where(step > 0, step, 1)) * step
    found: np.ndarray = np.where(factor != 0, back / np.where(factor != 0, factor, 1), values).astype(np.float32)
    return found


def _axes(layer: Any, rank: int, *, depthwise: bool) -> tuple[int, ...] | None:
    if support.row(layer).quantized != "int8 per-channel":
        return None
    # depthwise kernels have their channels on the axis before the last
    return tuple(range(rank - 2 if depthwise else rank - 1))


def _factor(layer: Any, values: np.ndarray, *, depthwise: bool) -> np.ndarray:
    norms = [one for one in fusing.behind(layer) if type(one).__name__ == "BatchNormalization"]
    if not norms or (depthwise and not type(layer).__name__.startswith("DepthwiseConv")):
        return np.ones(1, np.float32)
    scales: np.ndarray = np.prod([_scale(one) for one in norms], axis=0)
    return scales.reshape(values.shape[-2:]) if depthwise else scales


def _scale(norm: Any) -> np.ndarray:
    variance = norm.moving_variance.numpy()
    gamma = norm.gamma.numpy() if norm.scale else np.ones_like(variance)
    found: np.ndarray = gamma / np.sqrt(variance + norm.epsilon)
    return found


def ranges(model: Any, names: Sequence[str], batches: Iterable[Any]) -> dict[str, tuple[float, float]]:
    """Return layer name -> (low, high) of its output over samples; zero is in every range, so that padding is exact.

    Args:
        batches: of raw samples, as the model takes them.
    """
    from pipeline.legacy_keras import load as load_keras

    if not names:
        return {}
    probe = load_keras().Model(model.inputs, {name: model.get_layer(name).output for name in names})
    found = dict.fromkeys(names, (0.0, 0.0))
    for batch in batches:
        for name, given in probe.predict_on_batch(batch).items():
            low, high = found[name]
            found[name] = min(low, float(given.min())), max(high, float(given.max()))
    return found


def shrinkings(
    model: Any, graph: ChannelGraph, group: Group, scores: Scores, shares: Iterable[float]
) -> Iterator[Change]:  # fmt: skip
    """Yield a model that keeps a share of a group's channels, the most important ones.

    Args:
        graph: of the model.
        scores: of the channels; see `importance.scores`.
        shares: of channels that stay, in (0, 1); one stays at least, and where all would nothing is yielded.
    """
    whole, every = graph.parameters({}), graph.macs({})
    layers = tuple(name for name in group.layers if kernels.of(model.get_layer(name))) or (group.name,)
    ranked = np.argsort(-scores[group.name], kind="stable")
    for share in shares:
        width = max(1, round(share * group.size))
        if width == group.size:
            continue
        kept = {group.name: np.sort(ranked[:width])}
        fewer = {group.name: width}
        change = Change(
            share, layers, parameters=whole - graph.parameters(fewer),
            macs=every - graph.macs(fewer),
        )  # fmt: skip
        if _mixes(model, group):
            yield _with(change, smaller=lambda kept=kept: removal.remove(model, graph, kept))
        else:
            yield _with(change, weights=_silenced(model, graph, np.delete(group.ids, kept[group.name])))


def _mixes(model: Any, group: Group) -> bool:
    layers = [model.get_layer(name) for name in {*group.through, *group.layers, *group.readers}]
    return any(type(layer).__name__ in _MIXING or support.function(layer) == "softmax" for layer in layers)


def _silenced(model: Any, graph: ChannelGraph, gone: np.ndarray) -> dict[tuple[str, int], np.ndarray]:
    """Return all weights in which channels stand, zero there: nobody hears of them."""
    found = {}
    for layer in graph.layers:
        for weight in layer.weights:
            places = [None if axis is None else np.flatnonzero(np.isin(axis, gone)) for axis in weight.axes]
            if weight.name.startswith("moving_") or not any(p is not None and p.size for p in places):
                continue
            values = model.get_layer(layer.name).weights[weight.index].numpy()
            for axis, some in enumerate(places):
                if some is not None:
                    np.moveaxis(values, axis, 0)[some] = 0
            found[layer.name, weight.index] = values
    return found


def _with(change: Change, **fields: Any) -> Change:
    return replace(change, **fields)


def _kernels(layer: Any, names: Iterable[str]) -> dict[int, np.ndarray]:
    """Return index in the layer's weights -> values, of its kernels with some names."""
    places = [place for place, weight in enumerate(layer.weights) if len(weight.shape) >= 2]
    wanted = set(names)
    return {
        place: values for place, (name, values) in zip(places, kernels.of(layer).items(), strict=True) if name in wanted
    }


def _of(layer: Any, values: Mapping[int, np.ndarray]) -> dict[tuple[str, int], np.ndarray]:
    return {(layer.name, place): array for place, array in values.items()}


class Probe:
    """A model to which one change after the other is made, compiled once.

    Args:
        model: plain layers; it belongs to the probe from now on.
        rounded: names of the layers whose output some change rounds.
    """

    def __init__(self, model: Any, rounded: Iterable[str]) -> None:
        self.model = model
        self._switches = {name: _Switch(model.get_layer(name)) for name in dict.fromkeys(rounded)}

    @contextmanager
    def changed(self, change: Change) -> Iterator[Any]:
        """Give the model with a change; afterwards it is as it was."""
        if change.smaller is not None:
            yield change.smaller()
            return
        weights = {place: self.model.get_layer(place[0]).weights[place[1]] for place in change.weights}
        before = {place: weight.numpy() for place, weight in weights.items()}
        try:
            for place, values in change.weights.items():
                weights[place].assign(values)
            for name, (low, high) in change.ranges.items():
                self._switches[name].on(low, high)
            yield self.model
        finally:
            for place, values in before.items():
                weights[place].assign(values)
            for name in change.ranges:
                self._switches[name].off()


class _Switch:
    """What a layer gives, rounded to int8 while the switch is on."""

    def __init__(self, layer: Any) -> None:
        import tensorflow as tf

        self._on, self._low, self._high = tf.Variable(False), tf.Variable(0.0), tf.Variable(1.0)
        call = layer.call

        @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
        def rounding(*args: Any, **kwargs: Any) -> Any:
            given = call(*args, **kwargs)
            return tf.cond(
                self._on,
                lambda: tf.quantization.fake_quant_with_min_max_vars(given, self._low, self._high, BITS),
                lambda: given,
            )

        layer.call = rounding

    def on(self, low: float, high: float) -> None:
        self._low.assign(low)
        self._high.assign(high if high > low else low + 1.0)
        self._on.assign(True)

    def off(self) -> None:
        self._on.assign(False)
