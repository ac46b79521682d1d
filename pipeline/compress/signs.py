"""The signs of a batch normalization's scales move into the kernel before it.

An int8 file holds a convolution and the batch normalization behind it as one kernel, whose channels have scales that
are positive: where the normalization's scale is negative, the converter negates that channel's integers. A kernel of 16
distinct weights would become one of up to 32.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from pipeline.compress import kernels, support

# whose last axis counts the outputs, and whose scale a batch normalization becomes
_SCALED = ("Conv1D", "Conv2D", "SeparableConv1D", "SeparableConv2D")
# in training a scale stays as large at least: with one of zero, int8 has no range
_LEAST = 1e-3


def scale(layer: Any) -> Any | None:
    """Return the batch normalization that becomes part of a layer's kernel; None where none does."""
    if type(layer).__name__ not in _SCALED or support.function(layer) != "linear" or len(layer._outbound_nodes) != 1:
        return None
    behind = layer._outbound_nodes[0].outbound_layer
    return behind if type(behind).__name__ == "BatchNormalization" and len(behind._inbound_nodes) == 1 else None


def negative(layer: Any) -> bool:
    """Return whether a batch normalization that becomes part of a layer's kernel has a negative scale."""
    norm = scale(layer)
    return norm is not None and bool(norm.scale) and bool((norm.gamma.numpy() < 0).any())


def move(model: Any, names: Iterable[str]) -> int:
    """Let no scale behind the layers of these names be negative; the model answers as before.

    Returns how many channels were negated.
    """
    moved = 0
    for layer, norm in _pairs(model, names):
        gamma = norm.gamma.numpy()
        sign = np.where(gamma < 0, -1, 1).astype(gamma.dtype)
        *depthwise, kernel = [values for values in layer.get_weights() if values.ndim >= 2]
        bias = [layer.bias.numpy() * sign] if layer.use_bias else []
        layer.set_weights([*depthwise, kernel * sign, *bias])
        norm.gamma.assign(gamma * sign)
        norm.moving_mean.assign(norm.moving_mean.numpy() * sign)
        moved += int((sign < 0).sum())
    return moved


def hold(model: Any, names: Iterable[str], trained: dict[str, Any]) -> None:
    """Let the scales behind the layers of these names stay positive in every further step of a training.

    Args:
        model: plain layers.
        names: of layers that `move` was called with.
        trained: layer name -> the layer that is trained in its place.
    """
    for _, norm in _pairs(model, names):
        gamma = next(one for one in trained.get(norm.name, norm).weights if kernels.short(one) == "gamma")
        for one in getattr(gamma, "values", (gamma,)):  # of each replica
            one._constraint = _Positive(gamma.constraint)


def _pairs(model: Any, names: Iterable[str]) -> Iterator[tuple[Any, Any]]:
    for layer in map(model.get_layer, names):
        norm = scale(layer)
        if norm is not None and norm.scale:
            yield layer, norm


class _Positive:
    """A constraint of a scale, perhaps after another one."""

    def __init__(self, before: Any | None) -> None:
        self._before = before

    def __call__(self, weight: Any) -> Any:
        import tensorflow as tf

        return tf.maximum(self._before(weight) if self._before else weight, _LEAST)
