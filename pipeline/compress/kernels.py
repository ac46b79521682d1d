"""The kernels of a Keras model: which weights of which layer they are, and how many of them are zero."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np


def of(layer: Any) -> dict[str, np.ndarray]:
    """Return a layer's weights of rank 2 and more, by their name within the layer; a second of one name is `NAME_2`."""
    return {name: weight.numpy() for name, weight in variables(layer).items()}


def variables(layer: Any) -> dict[str, Any]:
    """Return the Keras variables of `of`."""
    found: dict[str, Any] = {}
    seen = Counter[str]()
    for weight in layer.weights:
        if len(weight.shape) >= 2:
            name = short(weight)
            seen[name] += 1
            found[f"{name}_{seen[name]}" if seen[name] > 1 else name] = weight
    return found


def short(weight: Any) -> str:
    """Return a variable's name within its layer: `conv_1/kernel:0` is `kernel`."""
    return str(weight.name).split(":")[0].split("/")[-1]


def named(model: Any) -> Iterator[tuple[Any, str, np.ndarray]]:
    """Yield (layer, name within the layer, values) for every kernel of a model."""
    for layer in model.layers:
        for name, values in of(layer).items():
            yield layer, name, values


def sparsity(arrays: list[np.ndarray]) -> float:
    """Return the share of exact zeros over all arrays, in [0, 1]; 0 where there are none."""
    total = sum(array.size for array in arrays)
    return sum(int(array.size - np.count_nonzero(array)) for array in arrays) / total if total else 0.0
