"""Patterns of zeros: which weights of a kernel stay, and what a kernel lacks of a pattern.

A kernel is float32 [..., inputs, outputs]; what stands before are the places of a convolution's kernel, and the pattern
holds in each by itself. TF-MOT has masks of its own for both patterns, and they do not do: its blocks are for dense
kernels alone, and its n of m are chosen once, at the first step, whatever the schedule says.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline.compress.pattern_config import Block, NOfM, Structured

# layers whose kernels are [..., inputs, outputs], and stay whole in every format
_KINDS = ("Conv1D", "Conv2D", "Conv3D", "Dense", "SeparableConv1D", "SeparableConv2D")
# of a share, which arrives as float32
_ROUNDING = 1e-7


def misfit(layer: Any, names: tuple[str, ...], pattern: Structured) -> str:
    """Return why a layer cannot have a pattern; empty where it can.

    Args:
        layer: a built Keras layer.
        names: of its weights that are to be pruned.
    """
    if not can_have(layer):
        return "patterns of zeros are made in the kernels of convolutions and dense layers, and it is neither"
    from pipeline.compress import kernels

    for name in names:
        inputs, outputs = kernels.of(layer)[name].shape[-2:]
        if isinstance(pattern, NOfM) and inputs % pattern.of:
            return f"its {inputs} inputs are no multiple of {pattern.of}, of which {pattern.zeros} are to be zero"
        if isinstance(pattern, Block) and (inputs % pattern.size[0] or outputs % pattern.size[1]):
            size = "{} x {}".format(*pattern.size)
            return f"its {inputs} inputs x {outputs} outputs are no multiple of blocks of {size}"
    return ""


def can_have(layer: Any) -> bool:
    """Return whether a layer's kernels can have a pattern, if their inputs and outputs fit."""
    return type(layer).__name__ in _KINDS


def units(pattern: Structured) -> tuple[int, int]:
    """Return of what a kernel's inputs and outputs have to be multiples."""
    return (pattern.of, 1) if isinstance(pattern, NOfM) else pattern.size


def mask(values: Any, pattern: Structured, share: Any) -> Any:
    """Return which weights stay: a tensor of 0 and 1 of the kernel's shape and dtype.

    Args:
        values: tensor [..., inputs, outputs] that the pattern fits; see `misfit`.
        share: scalar tensor in [0, 1): how much is to be zero. Of n of m groups at most n are, in those where they are
            the smallest; blocks become zero until there are at least so many zeros.
    """
    import tensorflow as tf

    magnitude = tf.abs(values)
    *places, inputs, outputs = values.shape
    if isinstance(pattern, NOfM):
        grouped = tf.reshape(magnitude, [*places, inputs // pattern.of, pattern.of, outputs])
        candidate = _ranks(grouped, axis=-2) < pattern.zeros
        cost = tf.reshape(tf.where(candidate, grouped, np.inf), [-1])
        # all candidates at the end, however many weights a rounding may cost: what costs infinity stays
        enough = tf.where(share > pattern.share - 10 * _ROUNDING, 1.0, share)
        zero = (_ranks(cost, axis=0) < _number(enough, values)) & tf.reshape(candidate, [-1])
        return tf.cast(tf.reshape(~zero, values.shape), values.dtype)
    high, wide = pattern.size
    blocks = tf.reshape(magnitude, [*places, inputs // high, high, outputs // wide, wide])
    pooled = (tf.reduce_mean if pattern.pooling == "average" else tf.reduce_max)(blocks, axis=[-3, -1], keepdims=True)
    zero = _ranks(tf.reshape(pooled, [-1]), axis=0) < _number(share, pooled)
    stays = tf.broadcast_to(tf.reshape(~zero, pooled.shape), blocks.shape)
    return tf.cast(tf.reshape(stays, values.shape), values.dtype)


def _number(share: Any, values: Any) -> Any:
    import tensorflow as tf

    count = tf.math.ceil((tf.cast(share, tf.float64) - _ROUNDING) * int(np.prod(values.shape)))
    return tf.cast(count, tf.int32)


def _ranks(values: Any, axis: int) -> Any:
    """Return the place of each value from the smallest, counted from 0; of equal ones the first comes first."""
    import tensorflow as tf

    return tf.argsort(tf.argsort(values, axis=axis, stable=True), axis=axis)


def broken(values: np.ndarray, pattern: Structured, target: float) -> str:
    """Return what a kernel [..., inputs, outputs] lacks of a pattern; empty where it has it.

    Args:
        values: of any dtype.
        target: share of its zeros, in (0, 1); of blocks so many are to be zero as a whole, but for one.
    """
    zero = values == 0
    *places, inputs, outputs = values.shape
    if isinstance(pattern, NOfM):
        counts = zero.reshape(*places, inputs // pattern.of, pattern.of, outputs).sum(axis=-2)
        wrong = int((counts < pattern.zeros).sum())
        return f"{wrong} of {counts.size} groups of {pattern.of} have fewer than {pattern.zeros} zeros" if wrong else ""
    high, wide = pattern.size
    whole = zero.reshape(*places, inputs // high, high, outputs // wide, wide).all(axis=(-3, -1))
    if whole.sum() >= math.ceil(target * whole.size) - 1:
        return ""
    return f"{int(whole.sum())} of {whole.size} blocks of {high} x {wide} are zero and {target:.0%} were to be"


def among(found: Mapping[str, np.ndarray], values: np.ndarray) -> bool:
    """Return whether one of a file's kernels has its zeros where this one has them, and perhaps more.

    Formats turn kernels (HWIO, OHWI, OIHW) and add or drop sides of 1: any order of the others is looked at.

    Args:
        found: kernels as a file stores them, by name.
        values: the model's kernel.
    """
    zero = np.squeeze(values) == 0
    turned = [zero.transpose(order) for order in itertools.permutations(range(zero.ndim))]
    same = [np.squeeze(array) == 0 for array in found.values() if array.size == values.size]
    return any(bool((there | ~here).all()) for there in same for here in turned if here.shape == there.shape)
