"""Constants that a .tflite stores without their zeros, by its format for sparse tensors.

The format is that of TACO (Kjolstad et al., 2017): a tensor's sides in some order, then those of its blocks, each kept
as a whole (dense) or as the places that are not zero (compressed sparse rows).
"""

from __future__ import annotations

from typing import Any

import numpy as np


def dense(values: np.ndarray, shape: tuple[int, ...], sparsity: Any) -> np.ndarray:
    """Return a sparse constant with its zeros.

    Args:
        values: what is stored, in the order of the format [n].
        shape: of the whole tensor.
        sparsity: `SparsityParametersT` of LiteRT's schema.
    """
    order = [int(side) for side in sparsity.traversalOrder]
    blocks = [int(side) for side in sparsity.blockMap] if sparsity.blockMap is not None else []
    places = np.zeros((1, 0), np.int64)
    for level in sparsity.dimMetadata:
        places = _deeper(places, level)
    step = np.ones(len(shape), np.int64)  # between the blocks of a side
    for side, level in zip(order, sparsity.dimMetadata, strict=True):
        if side >= len(shape):
            step[blocks[side - len(shape)]] = level.denseSize
    index = np.zeros((len(places), len(shape)), np.int64)
    for side, place in zip(order, places.T, strict=True):
        if side < len(shape):
            index[:, side] += place * step[side]
        else:
            index[:, blocks[side - len(shape)]] += place
    found = np.zeros(shape, values.dtype)
    found[tuple(index.T)] = values[: len(index)]
    return found


def _deeper(places: np.ndarray, level: Any) -> np.ndarray:
    """Return the places of one more side, int64 [n, sides + 1], in the order in which they are stored."""
    from ai_edge_litert.schema_py_generated import DimensionType

    if level.format == DimensionType.DENSE:
        here = np.tile(np.arange(level.denseSize), len(places))
        counts = np.full(len(places), level.denseSize)
    else:
        segments = np.asarray(level.arraySegments.values, np.int64)
        here, counts = np.asarray(level.arrayIndices.values, np.int64), np.diff(segments)
    return np.column_stack([np.repeat(places, counts, axis=0), here])
