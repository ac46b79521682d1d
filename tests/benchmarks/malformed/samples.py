"""Right inputs of the models, and the right answers to them."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import numpy as np

from tests.benchmarks.malformed.models import MODELS, VALID_SHAPES

_KINDS = {"float": np.float32, "double": np.float64, "int32": np.int32, "int64": np.int64, "uint8": np.uint8,
          "int16": np.int16, "bool": np.bool_, "half": np.float16}  # fmt: skip


def arrays(random: Random, model: str, signature: str) -> dict[str, np.ndarray]:
    """Return an input of every alias: small whole numbers, of one shape that the model takes."""
    shape = VALID_SHAPES.get(model, (random.randint(1, 4),))
    found = {}
    for alias, dtype in MODELS[model].signatures[signature].inputs.items():
        size = int(np.prod(shape))
        if dtype == "string":
            found[alias] = np.array([b"%d" % random.randint(0, 99) for _ in range(size)], object).reshape(shape)
        else:
            values = [random.randint(1, 9) for _ in range(size)]
            found[alias] = np.array(values, _KINDS[dtype]).reshape(shape)
    if model == "pair":
        found["a"] = np.repeat(found["a"][:, None], 2, axis=1)
    return found


def choose(random: Random) -> tuple[str, str]:
    """Return a model and one of its signatures."""
    model = random.choice(list(MODELS))
    return model, random.choice(list(MODELS[model].signatures))


def answers(model: str, signature: str, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what the model makes of its arrays."""
    if model in ("convolution", "guarded"):
        return {"y": _convolved(given["image"])}
    if model == "pair":
        return {"total": given["a"] + given["b"][:, None].astype(np.float32), "twice": given["b"] * 2}
    if model == "text":
        return {"plain": given["s"], "raw_bytes": given["s"] + b"!"}
    if model == "number":
        return {"y": given["s"].astype(np.float32)}
    make = _FUNCTIONS.get("other" if signature == "other" else model, _same)
    return {"y": make(given["x"])}


def _same(x: np.ndarray) -> np.ndarray:
    return x


_FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "half": lambda x: x / 2 + 2,
    "other": lambda x: x * 10,
    "flatten": lambda x: np.repeat(x.reshape(-1, 16).sum(1, keepdims=True), 3, axis=1),
    "graph1": lambda x: x * 3,
    "divide": lambda x: 12 // x,
    "outer": lambda x: x[:, None] * x[None, :],
}


def _convolved(image: np.ndarray) -> np.ndarray:
    """Four channels, each the sums over 3 x 3 pixels, averaged and added up: all weights are 1."""
    padded = np.pad(image[..., 0], ((0, 0), (1, 1), (1, 1)))
    rows, columns = image.shape[1:3]
    sums = np.sum([padded[:, i : i + rows, j : j + columns] for i in range(3) for j in range(3)], axis=0)
    return np.repeat(4 * sums.mean(axis=(1, 2))[:, None], 3, axis=1)
