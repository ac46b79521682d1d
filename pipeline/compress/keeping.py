"""What earlier stages made of a model's kernels stays while it learns on: zeros are zero, clusters share a weight.

After every step of the optimizer the weights are projected: those that were zero become zero again, those of a cluster
become their mean. Deep Compression (Han, Mao and Dally, 2016, section 3.3) sums the gradients of a cluster instead:
with plain gradient descent that is the same step, larger by the cluster's size; Adam scales each weight's step first.
TF-MOT has a scheme for each combination instead, under which zeros drift away and whole 1x1 convolutions become zero
(its issue 979, pull requests 720 and 721).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from pipeline.compress import kernels, signs, support

CHANNEL, TENSOR = "channel", "tensor"


def keep(weight: Any, clustered: str | None) -> None:
    """Let the zeros and the clusters that a weight has now stay in every further step of a training.

    Args:
        weight: a Keras variable of rank 2 or more.
        clustered: "tensor": equal values are one cluster; "channel": those of one output channel (the last axis) are;
            None: only zeros stay.
    """
    values = weight.numpy()
    groups = None if clustered is None else assignments(values, clustered)
    if groups is None and values.all():
        return
    constrain(weight, _Projected(weight.constraint, values != 0, groups))


def constrain(weight: Any, constraint: Callable[[Any], Any]) -> None:
    """Let a Keras variable be what `constraint` makes of it after every further step, on each replica that it has."""
    for one in getattr(weight, "values", (weight,)):
        one._constraint = constraint


def assignments(values: np.ndarray, clustered: str) -> np.ndarray:
    """Return the number of each weight's cluster, int32 of the same shape; equal values share one; see `keep`."""
    if clustered == TENSOR:
        return np.unique(values, return_inverse=True)[1].reshape(values.shape).astype(np.int32)
    found, used = np.empty(values.shape, np.int32), 0
    for channel in range(values.shape[-1]):
        inverse = np.unique(values[..., channel], return_inverse=True)[1].reshape(values.shape[:-1])
        found[..., channel] = inverse + used
        used += int(inverse.max()) + 1
    return found


class _Projected:
    """A constraint of a weight, perhaps after another one."""

    def __init__(
        self, before: Callable[[Any], Any] | None, mask: np.ndarray, groups: np.ndarray | None
    ) -> None:  # fmt: skip
        self._before, self._mask, self._groups = before, mask, groups

    def __call__(self, weight: Any) -> Any:
        import tensorflow as tf

        weight = (self._before(weight) if self._before else weight) * tf.cast(self._mask, weight.dtype)
        if self._groups is None:
            return weight
        number = int(self._groups.max()) + 1
        means = tf.math.unsorted_segment_mean(weight, self._groups, number)
        return tf.gather(means, self._groups)


def kept(model: Any, clustered: Mapping[str, str], trained: Mapping[str, Any] | None = None) -> None:
    """Let what a model's kernels have stay; see `keep`.

    Args:
        model: whose layers are plain.
        clustered: layer name -> how its kernels are clustered; those of others keep their zeros alone.
        trained: layer name -> the layer that is trained in its place, with weights of the same names.
    """
    others = dict(trained or {})
    for layer in model.layers:
        shared = support.clusterable(layer)
        for name, weight in kernels.variables(others.get(layer.name, layer)).items():
            keep(weight, clustered.get(layer.name) if name in shared else None)
    signs.hold(model, [name for name, how in clustered.items() if how == TENSOR], others)
